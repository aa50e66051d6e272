-- Writes and deletes documents, unless the server has a later version.
--
-- KEYS: for each change the document's key and the key of its version.
-- ARGV: for each change
--   operation: "set", "json", "hash" or "delete";
--   version: source, LSN, number within the transaction, commit time;
--   Unix time in seconds when the document expires, or "";
--   Unix time in seconds when the version expires, or ""; for "delete" the seconds that it is kept;
--   number of values, and the values.
-- Returns for each change 1 (written), 0 (superseded), -1 (an earlier change of the key failed) or an
-- error text.

local function parse(version)
  local source, lsn, nth, time = string.match(version, '^(%S+) (%d+) (%d+) (%d+)$')
  return source, tonumber(lsn), tonumber(nth), tonumber(time)
end

-- A version that was committed later counts as later even if its LSN is lower: LSNs begin again when
-- a container is restored or created again.
local function is_superseded(stored, version)
  if not stored or stored == version then return false end
  local stored_source, stored_lsn, stored_nth, stored_time = parse(stored)
  local source, lsn, nth, time = parse(version)
  if stored_source ~= source or time > stored_time then return false end
  return lsn < stored_lsn or (lsn == stored_lsn and nth < stored_nth)
end

local function write(key, version_key, operation, version, expires, version_expires, first, count)
  if is_superseded(redis.call('GET', version_key), version) then return 0 end
  if operation == 'delete' then
    redis.call('SET', version_key, version, 'EX', version_expires)
    redis.call('DEL', key)
    return 1
  end
  redis.call('SET', version_key, version)
  if operation == 'set' then
    redis.call('SET', key, ARGV[first])
  elseif operation == 'json' then
    redis.call('JSON.SET', key, '$', ARGV[first])
    if expires == '' then redis.call('PERSIST', key) end
  else
    redis.call('DEL', key)
    -- Lua passes a limited number of arguments.
    for from = first, first + count - 1, 1000 do
      redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, first + count - 1)))
    end
  end
  if expires ~= '' then
    redis.call('EXPIREAT', key, expires)
    redis.call('EXPIREAT', version_key, version_expires)
  end
  return 1
end

local answers, failed, at = {}, {}, 1
for change = 1, #KEYS / 2 do
  local key, version_key = KEYS[2 * change - 1], KEYS[2 * change]
  local count = tonumber(ARGV[at + 4])
  if failed[key] then
    answers[change] = -1
  else
    local written, answer = pcall(write, key, version_key, ARGV[at], ARGV[at + 1], ARGV[at + 2],
      ARGV[at + 3], at + 5, count)
    if not written then
      failed[key] = true
      answer = type(answer) == 'table' and answer.err or tostring(answer)
    end
    answers[change] = answer
  end
  at = at + 5 + count
end
return answers

-- Appends events to one stream, in their order, up to the first that fails.
--
-- KEYS: the stream, and the key of its writer.
-- ARGV: number of the writer's connection; largest length of the stream or ""; and for each event the
-- number of texts, and names and values in turn.
-- Returns for each event 1 (appended), -1 (an earlier event failed) or an error text.

local latest = tonumber(redis.call('GET', KEYS[2]) or 0)
local connection = tonumber(ARGV[1])
-- A call that was sent on an earlier connection arrives late: its events have been sent again.
if connection < latest then return redis.error_reply('SUPERSEDED a later connection is in use') end
-- Calls arrive less than a day late.
if connection > latest then redis.call('SET', KEYS[2], ARGV[1], 'EX', 86400) end

local answers, failed, at = {}, false, 3
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local answer = -1
  if not failed then
    local arguments = {KEYS[1]}
    if ARGV[2] ~= '' then
      arguments = {KEYS[1], 'MAXLEN', '~', ARGV[2]}
    end
    arguments[#arguments + 1] = '*'
    for text = at + 1, at + count do
      arguments[#arguments + 1] = ARGV[text]
    end
    local appended, result = pcall(redis.call, 'XADD', unpack(arguments))
    answer = 1
    if not appended then
      failed = true
      answer = type(result) == 'table' and result.err or tostring(result)
    end
  end
  answers[#answers + 1] = answer
  at = at + 1 + count
end
return answers

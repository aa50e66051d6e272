-- Letters of stage `read` have no document: only their feed range and their number in it tell them apart, and
-- numbers of two ranges may be equal. A constraint cannot be changed, so the table is copied.
CREATE TABLE dead_letters_new (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  buried_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  pipeline     TEXT NOT NULL,
  sink         TEXT NOT NULL,
  stage        TEXT NOT NULL, -- read, route or sink
  cause        TEXT NOT NULL,
  source       TEXT NOT NULL, -- account/database/container
  source_id    TEXT NOT NULL,
  source_key   TEXT NOT NULL, -- JSON array
  range_min    TEXT NOT NULL, -- start of the feed range, where id and key do not name the document
  lsn          INTEGER NOT NULL, -- 0 where the service did not tell
  nth          INTEGER NOT NULL, -- among the changes of this document in one transaction, from 0
  target       TEXT NOT NULL, -- JSON: place of the route from 1; or key and id that it was to have
  committed_at INTEGER,       -- seconds since the Unix epoch
  operation    TEXT NOT NULL, -- upsert, delete or expire
  document     TEXT,          -- JSON, whole
  previous     TEXT,          -- JSON: the document before an upsert, where the feed has it
  UNIQUE (pipeline, sink, source_id, source_key, range_min, lsn, nth, operation, stage, target)
) STRICT;
INSERT INTO dead_letters_new (id, buried_at, pipeline, sink, stage, cause, source, source_id, source_key,
    range_min, lsn, nth, target, committed_at, operation, document)
  SELECT id, buried_at, pipeline, sink, stage, cause, source, source_id, source_key,
    '', lsn, nth, target, committed_at, operation, document FROM dead_letters;
DROP TABLE dead_letters;
ALTER TABLE dead_letters_new RENAME TO dead_letters;

CREATE TABLE pipelines (
  name       TEXT PRIMARY KEY,
  container  TEXT NOT NULL, -- account/database/container
  rid        TEXT NOT NULL, -- the service's id of that container
  mode       TEXT NOT NULL,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT;

-- Everything of the range before the etag is safe in the sink. No etag: nothing was read yet.
CREATE TABLE positions (
  pipeline   TEXT NOT NULL REFERENCES pipelines (name),
  sink       TEXT NOT NULL,
  range_min  TEXT NOT NULL,
  range_max  TEXT NOT NULL,
  etag       TEXT,
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  PRIMARY KEY (pipeline, sink, range_min, range_max)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  buried_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  pipeline     TEXT NOT NULL,
  sink         TEXT NOT NULL,
  stage        TEXT NOT NULL, -- read, route or sink
  cause        TEXT NOT NULL,
  source       TEXT NOT NULL, -- account/database/container
  source_id    TEXT NOT NULL,
  source_key   TEXT NOT NULL, -- JSON array
  lsn          INTEGER NOT NULL, -- 0 where the service did not tell
  nth          INTEGER NOT NULL, -- among the changes of this document in one transaction, from 0
  target       TEXT NOT NULL, -- JSON: place of the route from 1; or key and id that it was to have
  committed_at INTEGER,       -- seconds since the Unix epoch
  operation    TEXT NOT NULL, -- upsert, delete or expire
  document     TEXT,          -- JSON, whole
  UNIQUE (pipeline, sink, source_id, source_key, lsn, nth, operation, stage, target)
) STRICT;

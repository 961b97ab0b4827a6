-- The table lookup becomes sorted runs, see runs.go, which opening builds from the events.
DROP TABLE lookup;
DROP TRIGGER events_deleted;

CREATE TRIGGER events_deleted AFTER DELETE ON events
BEGIN
    UPDATE merged SET pruned = max(pruned, old.seq);
    DELETE FROM backdated WHERE received_ms = old.received_s * 1000 + old.received_ns / 1000000 AND seq = old.seq;
END;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY -- 16 times the seq of the last event, plus the level
) STRICT;

-- Also those of runs that are being written or deleted.
CREATE TABLE chunks (
    run     INTEGER NOT NULL,
    last    BLOB NOT NULL, -- entry
    entries BLOB NOT NULL -- sorted
) STRICT;

CREATE UNIQUE INDEX chunks_last ON chunks (run, last);

-- The secret of the hashes in entries.
ALTER TABLE merged ADD COLUMN secret BLOB NOT NULL DEFAULT x'';
UPDATE merged SET seq = 0, secret = randomblob(16);

-- The journal of package relay. Times are nanoseconds since 1970.
CREATE TABLE relay_streams (
    id            INTEGER PRIMARY KEY,
    destination   TEXT NOT NULL,
    platform      TEXT NOT NULL, -- empty for the marker of a started destination
    token         INTEGER NOT NULL DEFAULT 0, -- of the last lease that saved
    position      TEXT NOT NULL,
    seq           INTEGER, -- of the position; NULL if it is not from this database
    last_event_id TEXT NOT NULL DEFAULT '',
    delivered     INTEGER NOT NULL DEFAULT 0,
    repeated      INTEGER NOT NULL DEFAULT 0,
    saved_ns      INTEGER,
    failure       TEXT NOT NULL DEFAULT '',
    failing_ns    INTEGER, -- since when
    retired_ns    INTEGER,
    retired_by    TEXT NOT NULL DEFAULT '',
    UNIQUE (destination, platform)
) STRICT;

CREATE INDEX relay_streams_platform ON relay_streams (platform);

-- Events that were not delivered at the first attempt.
CREATE TABLE relay_entries (
    id         INTEGER PRIMARY KEY, -- in the order of their first attempt
    stream     INTEGER NOT NULL REFERENCES relay_streams (id),
    event_id   TEXT NOT NULL,
    state      TEXT NOT NULL, -- parked, dead, skipped or delivered
    attempts   INTEGER NOT NULL,
    since_ns   INTEGER, -- first attempt or last retry by an operator
    next_ns    INTEGER, -- next attempt of parked events
    code       TEXT NOT NULL, -- of the reason
    reason     TEXT NOT NULL, -- JSON
    history    TEXT NOT NULL, -- JSON array, the first element and the last 49
    UNIQUE (stream, event_id)
) STRICT;

CREATE INDEX relay_entries_stream ON relay_entries (stream);
CREATE INDEX relay_entries_state ON relay_entries (stream, state);
CREATE INDEX relay_entries_due ON relay_entries (stream, next_ns) WHERE state = 'parked';

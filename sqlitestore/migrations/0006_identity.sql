-- Identifies the database and the write-ahead log that continues it, see mark.go.
CREATE TABLE identity (
    mark BLOB NOT NULL
) STRICT;

INSERT INTO identity VALUES (x'');

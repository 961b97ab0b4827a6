-- Which database this is, and which write-ahead log continues it: see mark.go.
CREATE TABLE identity (
    mark BLOB NOT NULL
) STRICT;

INSERT INTO identity VALUES (x'');

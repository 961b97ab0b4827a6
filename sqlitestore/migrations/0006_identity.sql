-- Which database this is: a random value that each opening changes, and that a
-- backup has of its own. The state file next to the database has it, too, so that
-- the write-ahead log of another database is not taken for the log of this one.
CREATE TABLE identity (
    token   BLOB NOT NULL,
    is_open INTEGER NOT NULL -- 1 from opening to closing
) STRICT;

INSERT INTO identity VALUES (zeroblob(16), 0);

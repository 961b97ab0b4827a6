-- Prune deletes by time of receipt. Ids increase with that time, so Prune finds
-- nearly all events by id. The exceptions are here: events whose id is ten
-- seconds or more later than their receipt, because the clock was set back.
CREATE TABLE backdated (
    received_ms INTEGER NOT NULL, -- since 1970
    seq         INTEGER NOT NULL,
    PRIMARY KEY (received_ms, seq)
) STRICT, WITHOUT ROWID;

-- The first ten digits of an id are milliseconds since 1970 in base 32.
INSERT INTO backdated
SELECT received_ms, seq
FROM (
    SELECT seq, received_s * 1000 + received_ns / 1000000 AS received_ms,
        ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 6, 1)) - 1) << 45)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 7, 1)) - 1) << 40)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 8, 1)) - 1) << 35)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 9, 1)) - 1) << 30)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 10, 1)) - 1) << 25)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 11, 1)) - 1) << 20)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 12, 1)) - 1) << 15)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 13, 1)) - 1) << 10)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 14, 1)) - 1) << 5)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(id, 15, 1)) - 1)) AS id_ms
    FROM events
)
WHERE id_ms >= received_ms + 10000;

DROP TRIGGER events_deleted;
CREATE TRIGGER events_deleted AFTER DELETE ON events
BEGIN
    DELETE FROM lookup WHERE kind = 1 AND platform = old.platform AND value = old.reference AND seq = old.seq;
    DELETE FROM lookup WHERE kind = 2 AND platform = old.platform AND value = old.customer_id AND seq = old.seq;
    DELETE FROM lookup WHERE kind = 3 AND platform = old.platform AND value = old.customer_reference AND seq = old.seq;
    DELETE FROM backdated WHERE received_ms = old.received_s * 1000 + old.received_ns / 1000000 AND seq = old.seq;
END;

-- When a request was received, or the last of its events if that is later.
ALTER TABLE requests ADD COLUMN bound_ms INTEGER NOT NULL DEFAULT 0;

-- If the id in bound is after those of all events, it has the time of the request.
-- Otherwise it is the id of an event and may be years after the receipt of both.
UPDATE requests SET bound_ms = coalesce(
    (
        SELECT max(received_s * 1000 + received_ns / 1000000)
        FROM request_events JOIN events ON seq = event
        WHERE request = requests.id
        HAVING max(substr(events.id, 6, 10)) >= substr(bound, 6, 10)
    ),
        ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 6, 1)) - 1) << 45)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 7, 1)) - 1) << 40)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 8, 1)) - 1) << 35)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 9, 1)) - 1) << 30)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 10, 1)) - 1) << 25)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 11, 1)) - 1) << 20)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 12, 1)) - 1) << 15)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 13, 1)) - 1) << 10)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 14, 1)) - 1) << 5)
        | ((instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(bound, 15, 1)) - 1))
);

DROP INDEX requests_bound;
ALTER TABLE requests DROP COLUMN bound;
CREATE INDEX requests_bound ON requests (bound_ms);

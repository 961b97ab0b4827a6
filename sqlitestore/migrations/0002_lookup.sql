-- This table replaces indexes. An index stores each entry at once, and each random
-- key changes another page. This table gets its entries later and in key order, see
-- index.go; until then they are in memory and in events.
CREATE TABLE lookup (
    kind     INTEGER NOT NULL, -- 1 reference, 2 customer_id, 3 customer_reference
    platform INTEGER NOT NULL,
    value    TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (kind, platform, value, seq)
) STRICT, WITHOUT ROWID;

-- One row: all events up to this seq are merged into lookup.
CREATE TABLE merged (
    seq INTEGER NOT NULL
) STRICT;

INSERT INTO merged SELECT coalesce(max(seq), 0) FROM events;

INSERT INTO lookup
SELECT 1, platform, reference, seq FROM events WHERE reference IS NOT NULL
UNION ALL SELECT 2, platform, customer_id, seq FROM events WHERE customer_id IS NOT NULL
UNION ALL SELECT 3, platform, customer_reference, seq FROM events WHERE customer_reference IS NOT NULL
ORDER BY 1, 2, 3, 4;

CREATE TRIGGER events_deleted AFTER DELETE ON events
BEGIN
    DELETE FROM lookup WHERE kind = 1 AND platform = old.platform AND value = old.reference AND seq = old.seq;
    DELETE FROM lookup WHERE kind = 2 AND platform = old.platform AND value = old.customer_id AND seq = old.seq;
    DELETE FROM lookup WHERE kind = 3 AND platform = old.platform AND value = old.customer_reference AND seq = old.seq;
END;

DROP INDEX events_reference;
DROP INDEX events_customer_id;
DROP INDEX events_customer_reference;

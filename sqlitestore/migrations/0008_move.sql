-- The table events without what content repeats. Ids increase with seq, so that a search by
-- seq finds them without an index. The events of the old table are moved in many
-- transactions; version 9 replaces it.
CREATE TABLE moved_events (
    seq                INTEGER PRIMARY KEY, -- in storage order, never reused
    id                 TEXT NOT NULL,
    platform           INTEGER NOT NULL REFERENCES platforms (id),
    timestamp_s        INTEGER NOT NULL,
    timestamp_ns       INTEGER NOT NULL,
    timestamp_assigned INTEGER NOT NULL, -- 1 if the client sent none
    received_s         INTEGER NOT NULL,
    received_ns        INTEGER NOT NULL,
    digest             BLOB NOT NULL,
    content            TEXT NOT NULL, -- last, so that scans can skip it

    product_item_id                     TEXT AS (content ->> '$.product_item_id'),
    customer_id                         TEXT AS (nullif(content ->> '$.customer_id', '')),
    customer_reference                  TEXT AS (nullif(content ->> '$.customer_reference', '')),
    pricing_plan_subscription_id        TEXT AS (nullif(content ->> '$.pricing_plan_subscription_id', '')),
    pricing_plan_subscription_reference TEXT AS (nullif(content ->> '$.pricing_plan_subscription_reference', '')),
    reference                           TEXT AS (nullif(content ->> '$.reference', '')) -- unique if set
) STRICT;

-- Implicitly ends in seq, the order of all listings.
DROP INDEX events_platform;
CREATE INDEX events_platform ON moved_events (platform);

DROP VIEW charge_events_view;
DROP TRIGGER events_deleted;

-- The greatest seq of deleted events, at least.
ALTER TABLE merged ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
UPDATE merged SET pruned = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0);

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

-- An INSERT would compute them.
DROP VIEW charge_events_view;
ALTER TABLE events DROP COLUMN product_item_id;
ALTER TABLE events DROP COLUMN customer_id;
ALTER TABLE events DROP COLUMN customer_reference;
ALTER TABLE events DROP COLUMN pricing_plan_subscription_id;
ALTER TABLE events DROP COLUMN pricing_plan_subscription_reference;
ALTER TABLE events DROP COLUMN reference;

CREATE VIEW charge_events_view AS
SELECT
    e.seq,
    e.id,
    'CHARGE_DATA' AS object_type,
    p.name AS platform,
    json_extract(e.content, '$.product_item_id') AS product_item_id,
    json_extract(e.content, '$.pricing_id') AS pricing_id,
    json_extract(e.content, '$.pricing_item_id') AS pricing_item_id,
    json_extract(e.content, '$.pricing_item_config_id') AS pricing_item_config_id,
    nullif(json_extract(e.content, '$.customer_id'), '') AS customer_id,
    nullif(json_extract(e.content, '$.customer_reference'), '') AS customer_reference,
    nullif(json_extract(e.content, '$.pricing_plan_subscription_id'), '') AS pricing_plan_subscription_id,
    nullif(json_extract(e.content, '$.pricing_plan_subscription_reference'), '') AS pricing_plan_subscription_reference,
    json_extract(e.content, '$.pricing_plan_subscription_selector') AS pricing_plan_subscription_selector,
    json_extract(e.content, '$.reference') AS reference,
    json_extract(e.content, '$.description') AS description,
    json_extract(e.content, '$.value.id') AS value_id,
    json_extract(e.content, '$.value.reference') AS value_reference,
    json_extract(e.content, '$.value.number') AS value_number,
    json_extract(e.content, '$.value.amount.quantity') AS value_amount_quantity,
    json_extract(e.content, '$.value.amount.currency') AS value_amount_currency,
    json_extract(e.content, '$.value.count') AS value_count,
    json_extract(e.content, '$.period.start_at') AS period_start_at,
    json_extract(e.content, '$.period.end_at') AS period_end_at,
    json_extract(e.content, '$.period.ratio') AS period_ratio,
    json_extract(e.content, '$.timestamp') AS timestamp,
    iif(e.timestamp_s < 253402300800,
        strftime('%Y-%m-%dT%H', e.timestamp_s, 'unixepoch'),
        printf('9999-12-31T%02d', (e.timestamp_s - 253402214400) / 3600))
        || strftime(':%M:%S', e.timestamp_s - 86400 * (e.timestamp_s >= 253402300800), 'unixepoch')
        || printf('.%09dZ', e.timestamp_ns) AS timestamp_utc,
    strftime('%Y-%m-%dT%H:%M:%S', e.received_s, 'unixepoch') || printf('.%09dZ', e.received_ns) AS received_at,
    e.content
FROM events AS e
JOIN platforms AS p ON p.id = e.platform;

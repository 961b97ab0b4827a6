DROP TABLE events;
ALTER TABLE moved_events RENAME TO events;

CREATE TRIGGER events_deleted AFTER DELETE ON events
BEGIN
    DELETE FROM lookup WHERE kind = 1 AND platform = old.platform AND value = old.reference AND seq = old.seq;
    DELETE FROM lookup WHERE kind = 2 AND platform = old.platform AND value = old.customer_id AND seq = old.seq;
    DELETE FROM lookup WHERE kind = 3 AND platform = old.platform AND value = old.customer_reference AND seq = old.seq;
    UPDATE merged SET pruned = max(pruned, old.seq);
    DELETE FROM backdated WHERE received_ms = old.received_s * 1000 + old.received_ns / 1000000 AND seq = old.seq;
END;

CREATE VIEW charge_events_view AS
SELECT
    e.seq,
    e.id,
    'CHARGE_DATA' AS object_type,
    p.name AS platform,
    e.product_item_id,
    json_extract(e.content, '$.pricing_id') AS pricing_id,
    json_extract(e.content, '$.pricing_item_id') AS pricing_item_id,
    json_extract(e.content, '$.pricing_item_config_id') AS pricing_item_config_id,
    e.customer_id,
    e.customer_reference,
    e.pricing_plan_subscription_id,
    e.pricing_plan_subscription_reference,
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

-- timestamp_utc: the timestamp as text that compares by instant.
--
-- RFC 3339 has no year 10000, but with an offset a timestamp can be up to a day
-- after the end of 9999 in UTC. Its hour then continues from 24, so that it
-- compares as the last one.
DROP VIEW charge_events_view;
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

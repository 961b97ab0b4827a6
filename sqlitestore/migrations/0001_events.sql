CREATE TABLE platforms (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- NULL means not set. Only content has the text of timestamps and decimals as
-- sent. Seconds since 1970 and nanoseconds are for comparisons.
CREATE TABLE events (
    seq                                 INTEGER PRIMARY KEY AUTOINCREMENT, -- in storage order, never reused
    id                                  TEXT NOT NULL UNIQUE,
    platform                            INTEGER NOT NULL REFERENCES platforms (id),
    reference                           TEXT, -- also NULL if empty; unique if set
    customer_id                         TEXT,
    customer_reference                  TEXT,
    pricing_plan_subscription_id        TEXT,
    pricing_plan_subscription_reference TEXT,
    product_item_id                     TEXT NOT NULL,
    timestamp_s                         INTEGER NOT NULL,
    timestamp_ns                        INTEGER NOT NULL,
    timestamp_assigned                  INTEGER NOT NULL, -- 1 if the client sent none
    received_s                          INTEGER NOT NULL,
    received_ns                         INTEGER NOT NULL,
    digest                              BLOB NOT NULL,
    content                             TEXT NOT NULL -- last, so that scans can skip it
) STRICT;

-- Each of these implicitly ends in seq, the order of all listings.
CREATE INDEX events_platform ON events (platform);
CREATE UNIQUE INDEX events_reference ON events (platform, reference) WHERE reference IS NOT NULL;
CREATE INDEX events_customer_id ON events (platform, customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX events_customer_reference ON events (platform, customer_reference) WHERE customer_reference IS NOT NULL;

-- Requests with an idempotency key.
CREATE TABLE requests (
    id       INTEGER PRIMARY KEY,
    platform INTEGER NOT NULL REFERENCES platforms (id),
    key      TEXT NOT NULL,
    route    TEXT NOT NULL,
    digest   BLOB NOT NULL,
    bound    TEXT NOT NULL, -- when it was recorded, as an event id of that time; not less than the ids of its events
    UNIQUE (platform, key)
) STRICT;

CREATE INDEX requests_bound ON requests (bound);

-- The events of the response, in its order; an event may occur twice.
CREATE TABLE request_events (
    request  INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    event    INTEGER NOT NULL REFERENCES events (seq),
    PRIMARY KEY (request, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_events_event ON request_events (event);

-- For other programs: a column per field of the API.
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
    strftime('%Y-%m-%dT%H:%M:%S', e.received_s, 'unixepoch') || printf('.%09dZ', e.received_ns) AS received_at,
    e.content
FROM events AS e
JOIN platforms AS p ON p.id = e.platform;

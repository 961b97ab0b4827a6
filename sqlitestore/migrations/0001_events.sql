-- The platforms by number: the indexes of events hold them in a byte or two.
CREATE TABLE platforms (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
) STRICT;

-- One row per event. The document is what clients are answered; the columns
-- beside it are what is looked up and filtered by. AUTOINCREMENT: a number that
-- was used never comes back after Prune, or old cursors would skip events.
CREATE TABLE events (
	seq                                 INTEGER PRIMARY KEY AUTOINCREMENT,
	id                                  TEXT    NOT NULL,
	platform                            INTEGER NOT NULL REFERENCES platforms (id),
	reference                           TEXT,             -- NULL where it is not set or empty
	customer_id                         TEXT,
	customer_reference                  TEXT,
	pricing_plan_subscription_id        TEXT,
	pricing_plan_subscription_reference TEXT,
	product_item_id                     TEXT    NOT NULL,
	timestamp_s                         INTEGER NOT NULL, -- Unix seconds, and the nanoseconds beyond:
	timestamp_ns                        INTEGER NOT NULL, -- int64 nanoseconds end in 1678 and 2262
	timestamp_assigned                  INTEGER NOT NULL CHECK (timestamp_assigned IN (0, 1)),
	received_s                          INTEGER NOT NULL,
	received_ns                         INTEGER NOT NULL,
	digest                              BLOB    NOT NULL,
	content                             TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE UNIQUE INDEX events_by_reference ON events (platform, reference) WHERE reference IS NOT NULL;

-- A rowid index ends in seq, so that each of these lists in the order of storing.
CREATE INDEX events_by_platform ON events (platform);
CREATE INDEX events_by_customer_id ON events (platform, customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX events_by_customer_reference ON events (platform, customer_reference) WHERE customer_reference IS NOT NULL;

-- Requests that carried an idempotency key, and the events they were answered with.
CREATE TABLE requests (
	id       INTEGER PRIMARY KEY,
	platform INTEGER NOT NULL REFERENCES platforms (id),
	key      TEXT    NOT NULL,
	route    TEXT    NOT NULL,
	digest   BLOB    NOT NULL,
	bound_ms INTEGER NOT NULL, -- Unix milliseconds
	UNIQUE (platform, key)
) STRICT;

CREATE TABLE request_events (
	request  INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
	position INTEGER NOT NULL,
	event    INTEGER NOT NULL REFERENCES events (seq),
	PRIMARY KEY (request, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_events_by_event ON request_events (event);

-- For people with the sqlite3 shell: a column per field of the contract.
CREATE VIEW charge_events_view AS
SELECT
	e.id,
	'CHARGE_DATA' AS object_type,
	p.name AS platform,
	e.product_item_id,
	e.content ->> '$.pricing_id' AS pricing_id,
	e.content ->> '$.pricing_item_id' AS pricing_item_id,
	e.content ->> '$.pricing_item_config_id' AS pricing_item_config_id,
	e.customer_id,
	e.customer_reference,
	e.pricing_plan_subscription_id,
	e.pricing_plan_subscription_reference,
	e.content -> '$.pricing_plan_subscription_selector' AS pricing_plan_subscription_selector,
	e.content ->> '$.reference' AS reference,
	e.content ->> '$.description' AS description,
	e.content ->> '$.value.id' AS value_id,
	e.content ->> '$.value.reference' AS value_reference,
	e.content ->> '$.value.number' AS value_number,
	e.content ->> '$.value.amount.quantity' AS value_amount_quantity,
	e.content ->> '$.value.amount.currency' AS value_amount_currency,
	e.content ->> '$.value.count' AS value_count,
	e.content ->> '$.period.start_at' AS period_start_at,
	e.content ->> '$.period.end_at' AS period_end_at,
	e.content ->> '$.period.ratio' AS period_ratio,
	e.content ->> '$.timestamp' AS timestamp,
	strftime('%Y-%m-%dT%H:%M:%S', e.received_s, 'unixepoch') || printf('.%09dZ', e.received_ns) AS received_at,
	e.seq
FROM events AS e
JOIN platforms AS p ON p.id = e.platform;

-- Each transaction locks the rows of its platforms until it is committed, so the
-- events of a platform become visible in their sequence.
CREATE TABLE platforms (
	name    text COLLATE "C" PRIMARY KEY,
	last    bigint NOT NULL,          -- seq of the newest event
	last_id text COLLATE "C" NOT NULL -- greatest id of the events
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000); -- updated by each transaction

CREATE TABLE events (
	platform           text COLLATE "C" NOT NULL,
	seq                bigint NOT NULL, -- storage order, assigned without gaps
	id                 text COLLATE "C" NOT NULL,
	content            text NOT NULL, -- JSON of the response, without id and object_type
	timestamp_assigned boolean NOT NULL,
	digest             bytea NOT NULL,
	received_at        timestamptz NOT NULL,

	-- The instant of the timestamp, from year 0 to 10000.
	timestamp_s  bigint NOT NULL,
	timestamp_ns integer NOT NULL,

	-- For lookups and filters; empty if null.
	reference                           text COLLATE "C" NOT NULL,
	customer_id                         text COLLATE "C" NOT NULL,
	customer_reference                  text COLLATE "C" NOT NULL,
	pricing_plan_subscription_id        text COLLATE "C" NOT NULL,
	pricing_plan_subscription_reference text COLLATE "C" NOT NULL,
	product_item_id                     text COLLATE "C" NOT NULL,

	PRIMARY KEY (platform, seq)
);
CREATE INDEX events_id ON events (platform, id);
CREATE INDEX events_customer_id ON events (platform, customer_id, seq) WHERE customer_id <> '';
CREATE INDEX events_customer_reference ON events (platform, customer_reference, seq) WHERE customer_reference <> '';

-- A separate table, so that events can be partitioned by time: PostgreSQL has no
-- unique index over all partitions.
CREATE TABLE event_references (
	platform  text COLLATE "C" NOT NULL,
	reference text COLLATE "C" NOT NULL,
	seq       bigint NOT NULL,
	PRIMARY KEY (platform, reference)
);

-- Idempotency records.
CREATE TABLE requests (
	platform    text COLLATE "C" NOT NULL,
	key         text COLLATE "C" NOT NULL,
	route       text NOT NULL,
	digest      bytea NOT NULL,
	event_ids   text[] NOT NULL, -- of the response, in order
	received_at timestamptz NOT NULL,
	PRIMARY KEY (platform, key)
);

-- The tenants that have events. The row of a platform is locked by each
-- transaction that stores for it, until that is committed: so the sequence of
-- its events is the order in which they become visible.
CREATE TABLE platforms (
	name    text COLLATE "C" PRIMARY KEY,
	last    bigint NOT NULL,          -- the sequence of its newest event
	last_id text COLLATE "C" NOT NULL -- the greatest id of its events
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000); -- rewritten all the time

CREATE TABLE events (
	platform           text COLLATE "C" NOT NULL,
	seq                bigint NOT NULL, -- the order of storing, without gaps
	id                 text COLLATE "C" NOT NULL,
	content            text NOT NULL, -- JSON as it is answered, without id and object_type
	timestamp_assigned boolean NOT NULL,
	digest             bytea NOT NULL,
	received_at        timestamptz NOT NULL,

	-- The instant of the timestamp: it reaches from year 0 to 10000.
	timestamp_s  bigint NOT NULL,
	timestamp_ns integer NOT NULL,

	-- What is looked up and filtered by; empty where it is null.
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

-- A table of its own, so that events can be partitioned by time: a unique index
-- over all partitions is not to be had.
CREATE TABLE event_references (
	platform  text COLLATE "C" NOT NULL,
	reference text COLLATE "C" NOT NULL,
	seq       bigint NOT NULL,
	PRIMARY KEY (platform, reference)
);

-- The requests that carried an idempotency key.
CREATE TABLE requests (
	platform    text COLLATE "C" NOT NULL,
	key         text COLLATE "C" NOT NULL,
	route       text NOT NULL,
	digest      bytea NOT NULL,
	event_ids   text[] NOT NULL, -- as it was answered, in its order
	received_at timestamptz NOT NULL,
	PRIMARY KEY (platform, key)
);

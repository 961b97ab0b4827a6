-- For relay.Journal. Names, ids and positions are escaped like platforms.name.

CREATE TABLE IF NOT EXISTS relay_streams (
	platform      text COLLATE "C" NOT NULL,
	destination   text COLLATE "C" NOT NULL,
	token         bigint NOT NULL, -- of the last lease
	holder        text NOT NULL,
	leased_until  timestamptz NOT NULL,
	position      text NOT NULL,
	seq           bigint, -- of the position; null for the position of another store
	last_event_id text NOT NULL,
	delivered     bigint NOT NULL DEFAULT 0,
	repeated      bigint NOT NULL DEFAULT 0,
	saved_at      timestamptz,
	failure       text NOT NULL DEFAULT '',
	failing_since timestamptz,
	retired_at    timestamptz,
	retired_by    text NOT NULL DEFAULT '',
	PRIMARY KEY (platform, destination)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000); -- updated by each Save

CREATE TABLE IF NOT EXISTS relay_entries (
	platform     text COLLATE "C" NOT NULL,
	destination  text COLLATE "C" NOT NULL,
	event_id     text COLLATE "C" NOT NULL,
	number       bigint NOT NULL GENERATED ALWAYS AS IDENTITY, -- in the order of creation
	state        text COLLATE "C" NOT NULL,
	attempts     integer NOT NULL,
	since        timestamptz NOT NULL,
	next_attempt timestamptz, -- only if parked
	reason       jsonb NOT NULL,
	history      jsonb NOT NULL,
	PRIMARY KEY (platform, destination, event_id)
);
CREATE INDEX IF NOT EXISTS relay_entries_number ON relay_entries (platform, destination, number);
CREATE INDEX IF NOT EXISTS relay_entries_state ON relay_entries (platform, destination, state, number);
CREATE INDEX IF NOT EXISTS relay_entries_due ON relay_entries (platform, destination, next_attempt, number) WHERE state = 'parked';

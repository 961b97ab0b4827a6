package pgstore

import "strings"

type statements struct {
	begin, timeouts, forceDurable, customPlans, commit, rollback string

	insert string

	lock, findLocked, findReferences, findReference, findRecords, findRecord string

	indexPlans, lockForPrune, oldEvents, oldRequests, deleteRequests, deleteEvents, missingForPrune, databaseBytes string

	newestID, readOnly, missingPrivileges, listBounds, get, list, seqOfReference string

	relay relayStatements
}

const eventColumns = "e.id, e.content, e.timestamp_assigned, e.digest"

func newStatements(schema string) *statements {
	in := func(text string) string { return strings.ReplaceAll(text, "$schema", schema) }
	return &statements{
		relay: newRelayStatements(schema),

		// At a higher level, a transaction fails after waiting for a platform.
		begin:    "BEGIN ISOLATION LEVEL READ COMMITTED",
		commit:   "COMMIT",
		rollback: "ROLLBACK",
		timeouts: "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $1, true), set_config('bytea_output', 'hex', true), set_config('client_min_messages', 'warning', true)",

		// The application may have turned synchronous_commit off.
		forceDurable: "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit', true) = 'off'",

		// A generic plan for few events may later read all.
		customPlans: "SELECT set_config('plan_cache_mode', 'force_custom_plan', true) WHERE current_setting('plan_cache_mode', true) IS NOT NULL",

		// One statement locks the platforms once the whole request has arrived, so a stalled
		// client does not delay others. Sorted names avoid deadlocks. Event ids are JSON,
		// because an array of arrays must be rectangular.
		insert: in(`WITH locked AS (
INSERT INTO $schema.platforms AS p (name, last, last_id)
SELECT t.name, t.events, t.id FROM unnest($1::text[], $2::bigint[], $3::text[]) AS t(name, events, id)
ON CONFLICT (name) DO UPDATE SET last = p.last + excluded.last, last_id = greatest(p.last_id, excluded.last_id)
RETURNING p.name, p.last
), of_events AS (
INSERT INTO $schema.events (platform, seq, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
SELECT e.platform, p.last - e.remaining, e.id, e.content, e.timestamp_assigned, e.digest, e.received_at, e.timestamp_s, e.timestamp_ns,
e.reference, e.customer_id, e.customer_reference, e.pricing_plan_subscription_id, e.pricing_plan_subscription_reference, e.product_item_id
FROM locked p JOIN unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::boolean[], $9::bytea[], $10::timestamptz[], $11::bigint[], $12::integer[],
$13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[])
AS e(platform, remaining, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
ON e.platform = p.name
), of_references AS (
INSERT INTO $schema.event_references (platform, reference, seq)
SELECT r.platform, r.reference, p.last - r.remaining FROM locked p JOIN unnest($4::text[], $13::text[], $5::bigint[]) AS r(platform, reference, remaining) ON r.platform = p.name
WHERE r.reference <> ''
)
INSERT INTO $schema.requests (platform, key, route, digest, event_ids, sent, received_at)
SELECT coalesce(p.name, r.platform), r.key, r.route, r.digest, ARRAY(SELECT jsonb_array_elements_text(r.event_ids::jsonb)),
CASE WHEN r.sent IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(r.sent::jsonb)) END, r.received_at
FROM unnest($19::text[], $20::text[], $21::text[], $22::bytea[], $23::text[], $24::text[], $25::timestamptz[]) AS r(platform, key, route, digest, event_ids, sent, received_at)
LEFT JOIN locked p ON p.name = r.platform`),

		// After a crash, an event can be visible that no standby has. Its replay must wait for
		// a standby, and only a commit that writes does.
		lock: in(`INSERT INTO $schema.platforms AS p (name, last, last_id) SELECT t.name, 0, '' FROM unnest($1::text[]) AS t(name)
ON CONFLICT (name) DO UPDATE SET last = p.last`),
		findLocked: in(`WITH free AS (SELECT name FROM $schema.platforms WHERE name = ANY($1::text[]) FOR NO KEY UPDATE SKIP LOCKED)
SELECT name FROM $schema.platforms WHERE name = ANY($1::text[]) AND name NOT IN (SELECT name FROM free)`),
		// Without OFFSET 0 the planner may read all events of a large platform. Content beyond
		// $3 bytes in total is null.
		findReferences: in(`SELECT r.platform, r.reference, e.id, CASE WHEN sum(octet_length(e.content)) OVER (ORDER BY e.platform, e.seq) <= $3 THEN e.content END, e.timestamp_assigned, e.digest
FROM unnest($1::text[], $2::text[]) AS w(platform, reference)
CROSS JOIN LATERAL (SELECT * FROM $schema.event_references r WHERE r.platform = w.platform AND r.reference = w.reference OFFSET 0) r
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.platform = r.platform AND e.seq = r.seq OFFSET 0) e`),
		findReference: in(`SELECT ` + eventColumns + ` FROM $schema.event_references r
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.platform = r.platform AND e.seq = r.seq OFFSET 0) e
WHERE r.platform = $1 AND r.reference = $2`),
		findRecords: in(`SELECT r.platform, r.key, r.route, r.digest, CASE WHEN sum(octet_length(e.content) + coalesce(octet_length(o.sent), 0)) OVER page <= $3 THEN o.sent END,
e.id, CASE WHEN sum(octet_length(e.content) + coalesce(octet_length(o.sent), 0)) OVER page <= $3 THEN e.content END, e.timestamp_assigned, e.digest
FROM unnest($1::text[], $2::text[]) AS w(platform, key)
CROSS JOIN LATERAL (SELECT * FROM $schema.requests r WHERE r.platform = w.platform AND r.key = w.key OFFSET 0) r
CROSS JOIN LATERAL unnest(r.event_ids, r.sent) WITH ORDINALITY AS o(id, sent, ordinal)
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = o.id OFFSET 0) e
WHERE e.platform = r.platform WINDOW page AS (ORDER BY r.platform, r.key, o.ordinal) ORDER BY r.platform, r.key, o.ordinal`),
		findRecord: in(`SELECT r.route, r.digest, o.sent, ` + eventColumns + ` FROM $schema.requests r
CROSS JOIN LATERAL unnest(r.event_ids, r.sent) WITH ORDINALITY AS o(id, sent, ordinal)
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = o.id OFFSET 0) e
WHERE r.platform = $1 AND r.key = $2 AND e.platform = r.platform ORDER BY o.ordinal`),

		indexPlans: `SELECT set_config(s.name, s.value, true) FROM (VALUES ('plan_cache_mode', 'force_custom_plan'), ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off')) AS s(name, value)
WHERE current_setting(s.name, true) IS NOT NULL`,
		lockForPrune: in(`SELECT 1 FROM $schema.platforms WHERE name = $1 FOR NO KEY UPDATE`),
		oldEvents: in(`SELECT e.platform, e.seq, e.id, e.received_at FROM $schema.events e
WHERE e.received_at < $1 AND e.received_at >= $2 AND (e.received_at, e.platform, e.seq) > ($2, $3, $4) ORDER BY e.received_at, e.platform, e.seq LIMIT $5`),
		// Without OFFSET 0 the planner may compare each event with each key of the platform.
		oldRequests: in(`SELECT r.key, r.event_ids FROM (SELECT * FROM $schema.requests r WHERE r.event_ids && $2::text[] OFFSET 0) r
WHERE r.platform = $1 AND r.received_at < $3
AND NOT EXISTS (SELECT 1 FROM (SELECT * FROM $schema.events e WHERE e.id = ANY(r.event_ids) OFFSET 0) e WHERE e.platform = $1 AND e.received_at >= $3)`),
		deleteRequests: in(`DELETE FROM $schema.requests WHERE platform = $1 AND key = ANY($2::text[])`),
		deleteEvents: in(`WITH kept AS MATERIALIZED (
SELECT o.id FROM (SELECT * FROM $schema.requests r WHERE r.event_ids && $2::text[] OFFSET 0) r CROSS JOIN LATERAL unnest(r.event_ids) AS o(id)
WHERE r.platform = $1
), old AS MATERIALIZED (
SELECT e.seq, e.received_at FROM unnest($2::text[]) AS w(id) CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = w.id OFFSET 0) e
WHERE e.platform = $1 AND e.received_at < $3 AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.id = e.id)
), deleted AS (
DELETE FROM $schema.events e USING old WHERE e.platform = $1 AND e.seq = old.seq AND e.received_at = old.received_at
RETURNING e.reference, e.seq
), of_references AS (
DELETE FROM $schema.event_references r USING deleted d WHERE r.platform = $1 AND r.reference = d.reference AND r.seq = d.seq
)
SELECT count(*) FROM deleted`),
		missingForPrune: in(`SELECT current_user, coalesce(string_agg(w.privilege || ' on $schema.' || w.name, ', ' ORDER BY w.name, w.privilege), '')
FROM (VALUES ('events', 'DELETE'), ('event_references', 'DELETE'), ('requests', 'DELETE'), ('relay_streams', 'SELECT'), ('relay_streams', 'UPDATE'), ('relay_entries', 'SELECT')) AS w(name, privilege)
WHERE NOT has_table_privilege('$schema.' || w.name, w.privilege)`),
		databaseBytes: `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'`,

		newestID: in(`SELECT coalesce(max(last_id), '') FROM $schema.platforms`),
		readOnly: `SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'`,
		missingPrivileges: in(`SELECT current_user, coalesce(string_agg(w.privilege || ' on $schema.' || w.name, ', ' ORDER BY w.name, w.privilege), '')
FROM (VALUES ('platforms', 'SELECT'), ('platforms', 'INSERT'), ('platforms', 'UPDATE'), ('events', 'SELECT'), ('events', 'INSERT'),
('event_references', 'SELECT'), ('event_references', 'INSERT'), ('requests', 'SELECT'), ('requests', 'INSERT'), ('requests.sent', 'SELECT'), ('requests.sent', 'INSERT')) AS w(name, privilege)
WHERE NOT CASE w.name WHEN 'requests.sent' THEN has_column_privilege('$schema.requests', 'sent', w.privilege) ELSE has_any_column_privilege('$schema.' || w.name, w.privilege) END`),
		listBounds: in(`SELECT coalesce(p.last, 0), coalesce(n.id, ''), coalesce(a.id, '') FROM (SELECT 1) AS one
LEFT JOIN $schema.platforms p ON p.name = $1
LEFT JOIN $schema.events n ON n.platform = $1 AND n.seq = p.last
LEFT JOIN $schema.events a ON a.platform = $1 AND a.seq = $2`),
		get: in(`SELECT ` + eventColumns + ` FROM (SELECT * FROM $schema.events e WHERE e.id = $2 OFFSET 0) e WHERE e.platform = $1`),
		list: in(`SELECT e.seq, e.id,
CASE WHEN row_number() OVER page = 1 OR sum(octet_length(e.content)) OVER page <= $maxbytes THEN e.content END, e.timestamp_assigned, e.digest
FROM (SELECT * FROM $schema.events e WHERE $where ORDER BY e.seq $direction LIMIT $limit) e
WINDOW page AS (ORDER BY e.seq $direction ROWS UNBOUNDED PRECEDING) ORDER BY e.seq $direction`),
		seqOfReference: in(`(SELECT r.seq FROM $schema.event_references r WHERE r.platform = ? AND r.reference = ?)`),
	}
}

package pgstore

import "strings"

// statements are the texts of all statements, for one schema.
type statements struct {
	begin, timeouts, durable, plans, commit, rollback string

	// The way of what is new: one round trip.
	insert string

	// What is known, once the platforms are locked.
	lock, findLocked, findReferences, findReference, findRequests, findRequest string

	// Reading.
	newestID, readOnly, rights, lastOf, get, list, seqOfReference string
}

// eventColumns are what scanEvent reads.
const eventColumns = "e.id, e.content, e.timestamp_assigned, e.digest"

func newStatements(schema string) *statements {
	in := func(text string) string { return strings.ReplaceAll(text, "$schema", schema) }
	return &statements{
		// Under another level a transaction that waited for the lock of a
		// platform would fail when it has it.
		begin:    "BEGIN ISOLATION LEVEL READ COMMITTED",
		commit:   "COMMIT",
		rollback: "ROLLBACK",
		timeouts: "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $1, true), set_config('bytea_output', 'hex', true), set_config('client_min_messages', 'warning', true)",

		// The pool is the host's, whose other code may have turned it off for a
		// session.
		durable: "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit', true) = 'off'",

		// A plan that was made while there were few events reads all of them, and is kept
		// until the server has analyzed the table: a minute, or a million events.
		plans: "SELECT set_config('plan_cache_mode', 'force_custom_plan', true) WHERE current_setting('plan_cache_mode', true) IS NOT NULL",

		// All of a group in one statement: it locks its platforms when the last byte of
		// it has arrived, and a client that stops while it sends holds up nobody. The
		// names come sorted, and nothing is inserted for a platform before it is locked.
		// An event says how many of its platform come behind it. A list of lists is no
		// array unless all are as long, so that the ids of a request come as JSON.
		insert: in(`WITH locked AS (
INSERT INTO $schema.platforms AS p (name, last, last_id)
SELECT t.name, t.events, t.id FROM unnest($1::text[], $2::bigint[], $3::text[]) AS t(name, events, id)
ON CONFLICT (name) DO UPDATE SET last = p.last + excluded.last, last_id = greatest(p.last_id, excluded.last_id)
RETURNING p.name, p.last
), of_events AS (
INSERT INTO $schema.events (platform, seq, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
SELECT e.platform, p.last - e.behind, e.id, e.content, e.timestamp_assigned, e.digest, e.received_at, e.timestamp_s, e.timestamp_ns,
e.reference, e.customer_id, e.customer_reference, e.pricing_plan_subscription_id, e.pricing_plan_subscription_reference, e.product_item_id
FROM locked p JOIN unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::boolean[], $9::bytea[], $10::timestamptz[], $11::bigint[], $12::integer[],
$13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[])
AS e(platform, behind, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
ON e.platform = p.name
), of_references AS (
INSERT INTO $schema.event_references (platform, reference, seq)
SELECT r.platform, r.reference, p.last - r.behind FROM locked p JOIN unnest($4::text[], $13::text[], $5::bigint[]) AS r(platform, reference, behind) ON r.platform = p.name
WHERE r.reference <> ''
)
INSERT INTO $schema.requests (platform, key, route, digest, event_ids, sent, received_at)
SELECT coalesce(p.name, r.platform), r.key, r.route, r.digest, ARRAY(SELECT jsonb_array_elements_text(r.event_ids::jsonb)),
CASE WHEN r.sent IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(r.sent::jsonb)) END, r.received_at
FROM unnest($19::text[], $20::text[], $21::text[], $22::bytea[], $23::text[], $24::text[], $25::timestamptz[]) AS r(platform, key, route, digest, event_ids, sent, received_at)
LEFT JOIN locked p ON p.name = r.platform`),

		// It writes each row anew, unchanged: so the commit waits for all that was
		// committed before it to be as durable as it is to be itself. After a crash
		// an event can be visible that no standby has yet, and a replay of it must
		// not be acknowledged before one has.
		lock: in(`INSERT INTO $schema.platforms AS p (name, last, last_id) SELECT t.name, 0, '' FROM unnest($1::text[]) AS t(name)
ON CONFLICT (name) DO UPDATE SET last = p.last`),
		findLocked: in(`WITH free AS (SELECT name FROM $schema.platforms WHERE name = ANY($1::text[]) FOR NO KEY UPDATE SKIP LOCKED)
SELECT name FROM $schema.platforms WHERE name = ANY($1::text[]) AND name NOT IN (SELECT name FROM free)`),
		// Behind OFFSET 0 there is one index by which an event can be found, and no join
		// to be planned otherwise. Left the choice the server reads all events of a platform
		// that has more than the others.
		//
		// Content beyond a budget is fetched when it is needed, one by one.
		findReferences: in(`SELECT r.platform, r.reference, e.id, CASE WHEN sum(octet_length(e.content)) OVER (ORDER BY e.platform, e.seq) <= $3 THEN e.content END, e.timestamp_assigned, e.digest
FROM unnest($1::text[], $2::text[]) AS w(platform, reference)
CROSS JOIN LATERAL (SELECT * FROM $schema.event_references r WHERE r.platform = w.platform AND r.reference = w.reference OFFSET 0) r
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.platform = r.platform AND e.seq = r.seq OFFSET 0) e`),
		findReference: in(`SELECT ` + eventColumns + ` FROM $schema.event_references r
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.platform = r.platform AND e.seq = r.seq OFFSET 0) e
WHERE r.platform = $1 AND r.reference = $2`),
		findRequests: in(`SELECT r.platform, r.key, r.route, r.digest, CASE WHEN sum(octet_length(e.content) + coalesce(octet_length(o.sent), 0)) OVER page <= $3 THEN o.sent END,
e.id, CASE WHEN sum(octet_length(e.content) + coalesce(octet_length(o.sent), 0)) OVER page <= $3 THEN e.content END, e.timestamp_assigned, e.digest
FROM unnest($1::text[], $2::text[]) AS w(platform, key)
CROSS JOIN LATERAL (SELECT * FROM $schema.requests r WHERE r.platform = w.platform AND r.key = w.key OFFSET 0) r
CROSS JOIN LATERAL unnest(r.event_ids, r.sent) WITH ORDINALITY AS o(id, sent, place)
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = o.id OFFSET 0) e
WHERE e.platform = r.platform WINDOW page AS (ORDER BY r.platform, r.key, o.place) ORDER BY r.platform, r.key, o.place`),
		findRequest: in(`SELECT r.route, r.digest, o.sent, ` + eventColumns + ` FROM $schema.requests r
CROSS JOIN LATERAL unnest(r.event_ids, r.sent) WITH ORDINALITY AS o(id, sent, place)
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = o.id OFFSET 0) e
WHERE r.platform = $1 AND r.key = $2 AND e.platform = r.platform ORDER BY o.place`),

		newestID: in(`SELECT coalesce(max(last_id), '') FROM $schema.platforms`),
		readOnly: `SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'`,
		rights: in(`SELECT current_user, coalesce(string_agg(w.privilege || ' on $schema.' || w.name, ', ' ORDER BY w.name, w.privilege), '')
FROM (VALUES ('platforms', 'SELECT'), ('platforms', 'INSERT'), ('platforms', 'UPDATE'), ('events', 'SELECT'), ('events', 'INSERT'),
('event_references', 'SELECT'), ('event_references', 'INSERT'), ('requests', 'SELECT'), ('requests', 'INSERT'), ('requests.sent', 'SELECT'), ('requests.sent', 'INSERT')) AS w(name, privilege)
WHERE NOT CASE w.name WHEN 'requests.sent' THEN has_column_privilege('$schema.requests', 'sent', w.privilege) ELSE has_any_column_privilege('$schema.' || w.name, w.privilege) END`),
		// The newest event of a platform, and the one that a cursor is behind.
		lastOf: in(`SELECT coalesce(p.last, 0), coalesce(n.id, ''), coalesce(a.id, '') FROM (SELECT 1) AS one
LEFT JOIN $schema.platforms p ON p.name = $1
LEFT JOIN $schema.events n ON n.platform = $1 AND n.seq = p.last
LEFT JOIN $schema.events a ON a.platform = $1 AND a.seq = $2`),
		get: in(`SELECT ` + eventColumns + ` FROM (SELECT * FROM $schema.events e WHERE e.id = $2 OFFSET 0) e WHERE e.platform = $1`),
		// The conditions and the order come between; what is beyond a page's bytes
		// has no content, so that nobody has to read it.
		list: in(`SELECT e.seq, e.id,
CASE WHEN row_number() OVER page = 1 OR sum(octet_length(e.content)) OVER page <= $max THEN e.content END, e.timestamp_assigned, e.digest
FROM (SELECT * FROM $schema.events e WHERE $where ORDER BY e.seq $direction LIMIT $limit) e
WINDOW page AS (ORDER BY e.seq $direction ROWS UNBOUNDED PRECEDING) ORDER BY e.seq $direction`),
		seqOfReference: in(`(SELECT r.seq FROM $schema.event_references r WHERE r.platform = ? AND r.reference = ?)`),
	}
}

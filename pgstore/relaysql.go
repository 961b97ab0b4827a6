package pgstore

import "strings"

type relayStatements struct {
	lease, findStream, lockPlatform, create, save, change, due string

	lockStream, retire, retry, skip, newestEntry, entryNumbers, status, entries, entry, eventState, isEntry string

	allStreams, lockStreams, undelivered, platforms, escapedPlatforms, missingPrivileges string
}

const entryColumns = "e.event_id, e.state, e.attempts, e.since, e.next_attempt, e.reason"

func newRelayStatements(schema string) relayStatements {
	in := func(text string) string {
		return strings.NewReplacer("$schema", schema,
			"$stream", "s.platform = $1 AND s.destination = $2", "$entry", "e.platform = $1 AND e.destination = $2",
			// with the first attempt and the last 49
			"$history", "CASE WHEN jsonb_array_length(e.history) < 50 THEN e.history ELSE e.history - 1 END").Replace(text)
	}
	return relayStatements{
		lease: in(`UPDATE $schema.relay_streams s SET holder = $3, leased_until = clock_timestamp() + $4::bigint * interval '1 microsecond',
token = s.token + CASE WHEN s.leased_until > clock_timestamp() OR $4 = 0 THEN 0 ELSE 1 END
WHERE $stream AND s.retired_at IS NULL AND (s.holder = $3 OR s.leased_until <= clock_timestamp())
RETURNING s.token, s.position, s.last_event_id`),
		findStream: in(`SELECT s.retired_at IS NOT NULL FROM $schema.relay_streams s WHERE $stream`),
		// Prune could delete events at the position of a new stream.
		lockPlatform: in(`SELECT 1 FROM $schema.platforms WHERE name = $1 FOR NO KEY UPDATE`),
		create: in(`INSERT INTO $schema.relay_streams (platform, destination, token, holder, leased_until, position, seq, last_event_id)
VALUES ($1, $2, 0, '', '-infinity', $3, $4, '') ON CONFLICT DO NOTHING`),
		save: in(`UPDATE $schema.relay_streams s SET position = CASE WHEN $4 = '' THEN s.position ELSE $4 END, seq = CASE WHEN $4 = '' THEN s.seq ELSE $5::bigint END,
last_event_id = CASE WHEN $6 = '' THEN s.last_event_id ELSE $6 END, delivered = s.delivered + $7, repeated = s.repeated + $8, saved_at = clock_timestamp(),
failure = coalesce($9, s.failure), failing_since = CASE WHEN coalesce($9, s.failure) <> '' THEN coalesce(s.failing_since, clock_timestamp()) END
WHERE $stream AND s.token = $3 AND s.token > 0`),
		change: in(`INSERT INTO $schema.relay_entries AS e (platform, destination, event_id, state, attempts, since, next_attempt, reason, history)
VALUES ($1, $2, $3, $4, 1, $5, $6, $7, jsonb_build_array($8::jsonb))
ON CONFLICT (platform, destination, event_id) DO UPDATE SET state = excluded.state, attempts = e.attempts + 1, next_attempt = excluded.next_attempt,
reason = CASE WHEN excluded.state = 'delivered' THEN e.reason ELSE excluded.reason END, history = $history || excluded.history
WHERE e.state <> 'skipped' OR excluded.state = 'delivered'`),
		due: in(`SELECT ` + entryColumns + ` FROM $schema.relay_entries e WHERE $entry AND e.state = 'parked' ORDER BY e.next_attempt, e.number LIMIT $3`),

		lockStream: in(`SELECT s.retired_at IS NOT NULL FROM $schema.relay_streams s WHERE $stream FOR NO KEY UPDATE`),
		retire: in(`UPDATE $schema.relay_streams s SET retired_at = $3, retired_by = $4, leased_until = '-infinity'
WHERE $stream AND s.retired_at IS NULL`),
		retry: in(`UPDATE $schema.relay_entries e SET state = 'parked', since = $3, next_attempt = $3, history = $history || jsonb_build_array($4::jsonb)
WHERE $entry AND e.state <> 'delivered' AND `),
		skip: in(`UPDATE $schema.relay_entries e SET state = 'skipped', next_attempt = NULL, history = $history || jsonb_build_array($4::jsonb)
WHERE $entry AND e.state IN ('parked', 'dead') AND $3::timestamptz IS NOT NULL AND `),

		newestEntry:  in(`SELECT coalesce(max(e.number), 0) FROM $schema.relay_entries e WHERE $entry`),
		entryNumbers: in(`SELECT e.number FROM $schema.relay_entries e WHERE $entry AND e.number > $3 AND `),

		status: in(`SELECT s.destination, s.platform, s.position, s.last_event_id, s.seq, coalesce(p.last, 0), pending.seq, pending.received_at,
(SELECT count(*) FROM (SELECT 1 FROM $schema.relay_entries e WHERE e.platform = s.platform AND e.destination = s.destination AND e.state = 'parked' LIMIT 1000000) e),
(SELECT count(*) FROM (SELECT 1 FROM $schema.relay_entries e WHERE e.platform = s.platform AND e.destination = s.destination AND e.state = 'dead' LIMIT 1000000) e),
(SELECT count(*) FROM (SELECT 1 FROM $schema.relay_entries e WHERE e.platform = s.platform AND e.destination = s.destination AND e.state = 'skipped' LIMIT 1000000) e),
s.delivered, s.repeated, s.saved_at, s.failure, s.failing_since, s.retired_at, s.retired_by
FROM $schema.relay_streams s LEFT JOIN $schema.platforms p ON p.name = s.platform
LEFT JOIN LATERAL (SELECT e.seq, e.received_at FROM $schema.events e WHERE e.platform = s.platform AND e.seq > s.seq ORDER BY e.seq LIMIT 1) pending ON true
WHERE s.platform <> '' AND ($1 = '' OR s.platform = $1)`),
		entries: in(`SELECT ` + entryColumns + `, e.history, e.number FROM $schema.relay_entries e WHERE $entry AND e.number > $3`),
		entry:   in(`SELECT ` + entryColumns + `, e.history, e.number FROM $schema.relay_entries e WHERE $entry AND e.event_id = $3`),
		eventState: in(`SELECT CASE WHEN e.seq <= s.seq AND s.seq <= p.last THEN 'delivered' ELSE 'pending' END
FROM $schema.relay_streams s CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = $3 OFFSET 0) e JOIN $schema.platforms p ON p.name = e.platform
WHERE $stream AND e.platform = $1`),
		isEntry: in(`SELECT EXISTS (SELECT 1 FROM $schema.relay_entries e WHERE $entry AND e.number = $3)`),

		allStreams:  in(`SELECT platform, destination, seq FROM $schema.relay_streams WHERE retired_at IS NULL AND seq IS NOT NULL`),
		lockStreams: in(`SELECT 1 FROM $schema.relay_streams WHERE platform = $1 AND retired_at IS NULL AND seq IS NOT NULL FOR SHARE`),
		undelivered: in(`SELECT e.id, s.destination FROM unnest($2::text[]) AS w(id)
CROSS JOIN LATERAL (SELECT * FROM $schema.events e WHERE e.id = w.id OFFSET 0) e
JOIN $schema.relay_streams s ON s.platform = $1 AND s.retired_at IS NULL AND s.seq IS NOT NULL
WHERE e.platform = $1 AND (e.seq >= s.seq OR EXISTS (SELECT 1 FROM $schema.relay_entries r
WHERE r.platform = $1 AND r.destination = s.destination AND r.event_id = e.id AND r.state IN ('parked', 'dead')))`),

		platforms:        in(`SELECT name FROM $schema.platforms WHERE name > $1 AND last > 0 AND strpos(name, '\') = 0 ORDER BY name LIMIT $2`),
		escapedPlatforms: in(`SELECT name FROM $schema.platforms WHERE last > 0 AND strpos(name, '\') > 0`),

		missingPrivileges: in(`SELECT current_user, coalesce(string_agg(w.privilege || ' on $schema.' || w.name, ', ' ORDER BY w.name, w.privilege), '')
FROM (VALUES ('relay_streams', 'SELECT'), ('relay_streams', 'INSERT'), ('relay_streams', 'UPDATE'), ('relay_entries', 'SELECT'), ('relay_entries', 'INSERT'),
('relay_entries', 'UPDATE'), ('platforms', 'SELECT'), ('platforms', 'UPDATE')) AS w(name, privilege) WHERE NOT has_any_column_privilege('$schema.' || w.name, w.privilege)`),
	}
}

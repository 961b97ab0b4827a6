package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// Contents describes a database.
type Contents struct {
	SchemaVersion   int64
	Events          int64
	IdempotencyKeys int64
	Platforms       []PlatformContents

	First, Last *EventInfo // nil without events

	newest int64
}

// PlatformContents describes a platform.
type PlatformContents struct {
	Name                    string
	Events, IdempotencyKeys int64
}

// EventInfo identifies a stored event.
type EventInfo struct {
	ID         string
	ReceivedAt time.Time
}

func checkContents(ctx context.Context, db *sql.DB) (c Contents, problems []error, err error) {
	if c, problems, err = examineContents(ctx, db); resultCode(err) == sqlite3.SQLITE_CORRUPT {
		return c, append(problems, err), nil
	}
	return c, problems, err
}

func examineContents(ctx context.Context, db *sql.DB) (c Contents, problems []error, err error) {
	damaged, err := texts(ctx, db, "PRAGMA integrity_check(10)")
	if err != nil {
		return c, nil, fmt.Errorf("integrity check: %w", err)
	}
	if len(damaged) != 1 || damaged[0] != "ok" {
		for _, d := range damaged {
			problems = append(problems, fmt.Errorf("integrity check: %s", d))
		}
		return c, problems, nil
	}
	if err := c.count(ctx, db); err != nil {
		return c, nil, err
	}
	if c.SchemaVersion == movingVersion {
		return c, []error{errors.New("the database is only partly upgraded: open it with a store, for example the server's, to finish")}, nil
	}
	for _, i := range invariants {
		if c.SchemaVersion < i.version || i.last > 0 && c.SchemaVersion > i.last {
			continue
		}
		var n int64
		if err := db.QueryRowContext(ctx, i.query).Scan(&n); err != nil {
			return c, nil, fmt.Errorf("%s: %w", i.text, err)
		}
		if n != 0 {
			problems = append(problems, fmt.Errorf("%s: %d", i.text, n))
		}
	}
	return c, problems, nil
}

const (
	lookupVersion  = 2
	journalVersion = 7
)

var invariants = []struct {
	version int64
	text    string
	query   string
	last    int64 // version, if set
}{
	{version: 1, text: "rows that refer to missing rows", query: "SELECT count(*) FROM pragma_foreign_key_check"},
	{version: 1, last: movingVersion - 1, text: "events beyond the last number", query: `SELECT count(*) FROM events
		WHERE seq > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events')`},
	{version: 1, text: "events whose id is not after that of the event before", query: `SELECT count(*)
		FROM (SELECT id <= lag(id) OVER (ORDER BY seq) AS wrong FROM events) WHERE wrong`},
	{version: lookupVersion, text: "rows missing in or added to the table merged", query: "SELECT abs(count(*) - 1) FROM merged"},
	{version: lookupVersion, text: "entries missing in or added to the table lookup", query: `SELECT
		abs(events.r - entries.r) + abs(events.c - entries.c) + abs(events.cr - entries.cr)
		FROM (SELECT count(reference) AS r, count(customer_id) AS c, count(customer_reference) AS cr
			FROM events WHERE seq <= (SELECT seq FROM merged)) AS events,
		(SELECT total(kind = 1) AS r, total(kind = 2) AS c, total(kind = 3) AS cr
			FROM lookup WHERE seq <= (SELECT seq FROM merged)) AS entries`},
	{version: lookupVersion, text: "references stored twice", query: `SELECT
		(SELECT count(*) FROM (SELECT 1 FROM lookup WHERE kind = 1 GROUP BY platform, value HAVING count(*) > 1)) +
		(SELECT count(*) FROM (SELECT 1 FROM events WHERE seq > (SELECT seq FROM merged) AND reference IS NOT NULL
			GROUP BY platform, reference HAVING count(*) > 1)) +
		(SELECT count(*) FROM events WHERE events.seq > (SELECT seq FROM merged) AND EXISTS (SELECT 1 FROM lookup
			WHERE kind = 1 AND lookup.platform = events.platform AND value = reference AND lookup.seq <> events.seq))`},
	{version: journalVersion, text: "entries of the journal that cannot be read", query: `SELECT count(*) FROM relay_entries
		WHERE NOT json_valid(reason) OR NOT json_valid(history)`},
	{version: identityVersion, text: "rows missing in or added to the table identity", query: "SELECT abs(count(*) - 1) FROM identity"},
}

func (c *Contents) count(ctx context.Context, db *sql.DB) error {
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&c.SchemaVersion); err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, `SELECT name, coalesce(events, 0), coalesce(keys, 0) FROM platforms
		LEFT JOIN (SELECT platform AS p, count(*) AS events FROM events GROUP BY platform) AS e ON e.p = platforms.id
		LEFT JOIN (SELECT platform AS p, count(*) AS keys FROM requests GROUP BY platform) AS r ON r.p = platforms.id
		ORDER BY name`)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // read only
	for rows.Next() {
		var p PlatformContents
		if err := rows.Scan(&p.Name, &p.Events, &p.IdempotencyKeys); err != nil {
			return err
		}
		c.Platforms = append(c.Platforms, p)
		c.Events += p.Events
		c.IdempotencyKeys += p.IdempotencyKeys
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if c.First, err = eventInfo(ctx, db, "SELECT id, received_s, received_ns FROM events ORDER BY seq LIMIT 1"); err != nil {
		return err
	}
	if c.Last, err = eventInfo(ctx, db, "SELECT id, received_s, received_ns FROM events ORDER BY seq DESC LIMIT 1"); err != nil {
		return err
	}
	return db.QueryRowContext(ctx, "SELECT "+newestSeqSQL(c.SchemaVersion)).Scan(&c.newest)
}

func eventInfo(ctx context.Context, db *sql.DB, query string) (*EventInfo, error) {
	var e EventInfo
	var seconds, nanoseconds int64
	switch err := db.QueryRowContext(ctx, query).Scan(&e.ID, &seconds, &nanoseconds); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	e.ReceivedAt = time.Unix(seconds, nanoseconds).UTC()
	return &e, nil
}

func texts(ctx context.Context, db *sql.DB, query string) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // read only
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}

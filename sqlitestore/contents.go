package sqlitestore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/sortedrun"
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
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // of one moment
	if err != nil {
		return c, nil, err
	}
	defer tx.Rollback() //nolint:errcheck // read only
	if err := c.count(ctx, tx); err != nil {
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
		if err := tx.QueryRowContext(ctx, i.query).Scan(&n); err != nil {
			return c, nil, fmt.Errorf("%s: %w", i.text, err)
		}
		if n != 0 {
			problems = append(problems, fmt.Errorf("%s: %d", i.text, n))
		}
	}
	if c.SchemaVersion >= runsVersion && len(problems) == 0 {
		matches, err := checkIndex(ctx, tx)
		if err == nil && !matches {
			problems = append(problems, errors.New("entries missing in or added to the index"))
		}
		return c, problems, err
	}
	return c, problems, nil
}

// checkIndex compares the sums of the hashes of all entries and of those that the events must
// have.
func checkIndex(ctx context.Context, tx *sql.Tx) (matches bool, err error) {
	var merged, first int64
	var keys keys
	if err := tx.QueryRowContext(ctx, "SELECT seq, secret, (SELECT coalesce(min(seq), merged.seq) FROM events) FROM merged").Scan(&merged, &keys.secret, &first); err != nil {
		return false, err
	}
	seed, sum := maphash.MakeSeed(), uint64(0)
	exists := make([]uint64, max(0, merged-first)/64+1)
	if err := eachRow(ctx, tx, func(rows *sql.Rows) error {
		var seq int64
		var platform string
		var values [kinds]string
		if err := rows.Scan(&seq, &platform, &values[0], &values[1], &values[2]); err != nil {
			return err
		}
		for i, value := range values {
			if value != "" {
				sum += maphash.Bytes(seed, keys.of(kind(i+1), platform, value).entry(seq))
			}
		}
		exists[(seq-first)/64] |= 1 << ((seq - first) % 64)
		return nil
	}, indexedSQL+" WHERE seq <= ?", merged); err != nil {
		return false, err
	}
	var run, begin, end int64 // the run has entries of the events after begin up to end
	sorted, previous := true, []byte{}
	err = eachRow(ctx, tx, func(rows *sql.Rows) error {
		var last, entries []byte
		before := run
		if err := rows.Scan(&run, &last, &entries); err != nil {
			return err
		}
		if run != before {
			begin, end, previous = end, run/levels, []byte{}
		}
		for ; len(entries) >= sortedrun.EntryBytes; entries = entries[sortedrun.EntryBytes:] {
			e, seq := entries[:sortedrun.EntryBytes], sortedrun.Decode(entries).Seq
			sorted = sorted && bytes.Compare(previous, e) < 0 && seq > begin && seq <= end
			if previous = e; seq >= first && seq <= merged && exists[(seq-first)/64]>>((seq-first)%64)&1 == 1 {
				sum -= maphash.Bytes(seed, e)
			}
		}
		sorted = sorted && bytes.Equal(previous, last) && len(entries) == 0
		return nil
	}, "SELECT run, last, entries FROM chunks WHERE run IN (SELECT id FROM runs) ORDER BY run, last")
	return sorted && sum == 0, err
}

const (
	mergedVersion  = 2
	runsVersion    = 10
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
	{version: mergedVersion, text: "rows missing in or added to the table merged", query: "SELECT abs(count(*) - 1) FROM merged"},
	{version: runsVersion, text: "rows of the table merged beyond the events", query: "SELECT count(*) FROM merged WHERE seq < 0 OR seq > " + newestSeq},
	{version: runsVersion, text: "wrong rows in the table runs", query: `SELECT count(*) - count(DISTINCT id / 16)
		+ coalesce(sum(id < 16 OR id / 16 > (SELECT seq FROM merged)), 0) FROM runs`},
	{version: 1, text: "references stored twice", query: `SELECT count(*) FROM (SELECT 1
		FROM (SELECT platform, iif(json_valid(content), content ->> '$.reference', '') AS r FROM events) WHERE r <> '' GROUP BY platform, r HAVING count(*) > 1)`},
	{version: journalVersion, text: "entries of the journal that cannot be read", query: `SELECT count(*) FROM relay_entries
		WHERE NOT json_valid(reason) OR NOT json_valid(history)`},
	{version: identityVersion, text: "rows missing in or added to the table identity", query: "SELECT abs(count(*) - 1) FROM identity"},
}

func (c *Contents) count(ctx context.Context, tx *sql.Tx) error {
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&c.SchemaVersion); err != nil {
		return err
	}
	err := eachRow(ctx, tx, func(rows *sql.Rows) error {
		var p PlatformContents
		err := rows.Scan(&p.Name, &p.Events, &p.IdempotencyKeys)
		c.Platforms = append(c.Platforms, p)
		c.Events += p.Events
		c.IdempotencyKeys += p.IdempotencyKeys
		return err
	}, `SELECT name, coalesce(events, 0), coalesce(keys, 0) FROM platforms
		LEFT JOIN (SELECT platform AS p, count(*) AS events FROM events GROUP BY platform) AS e ON e.p = platforms.id
		LEFT JOIN (SELECT platform AS p, count(*) AS keys FROM requests GROUP BY platform) AS r ON r.p = platforms.id
		ORDER BY name`)
	if err != nil {
		return err
	}
	if c.First, err = eventInfo(ctx, tx, "SELECT id, received_s, received_ns FROM events ORDER BY seq LIMIT 1"); err != nil {
		return err
	}
	if c.Last, err = eventInfo(ctx, tx, "SELECT id, received_s, received_ns FROM events ORDER BY seq DESC LIMIT 1"); err != nil {
		return err
	}
	return tx.QueryRowContext(ctx, "SELECT "+newestSeqSQL(c.SchemaVersion)).Scan(&c.newest)
}

func eventInfo(ctx context.Context, tx *sql.Tx, query string) (*EventInfo, error) {
	var e EventInfo
	var seconds, nanoseconds int64
	switch err := tx.QueryRowContext(ctx, query).Scan(&e.ID, &seconds, &nanoseconds); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	e.ReceivedAt = time.Unix(seconds, nanoseconds).UTC()
	return &e, nil
}

func texts(ctx context.Context, db *sql.DB, query string) (list []string, err error) {
	err = eachRow(ctx, db, func(rows *sql.Rows) error {
		list = append(list, "")
		return rows.Scan(&list[len(list)-1])
	}, query)
	return list, err
}

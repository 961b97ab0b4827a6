package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

// session is one life of the writer's connection: a checked database whose
// write-ahead log was empty and synced when the session began.
type session struct {
	conn
	beside     conn        // for checkpoints while a transaction is open
	log        os.FileInfo // tells the log's file from another one at its path
	seen       time.Time   // when it was last at its place
	statements []statement // all of those below

	begin, commit, logSize     statement
	totalChanges, setMark      statement
	findPlatform, addPlatform  statement
	findRequest, requestEvents statement
	findReference, eventAt     statement
	findReferences, setMerged  statement
	bindRequest, bindEvent     statement
	oldRequest, requestPlaces  statement
	deleteRequest              statement
	oldEvents, deleteUnheld    statement
	addBackdated, oldBackdated statement
	receivedAt                 statement
	somePlatforms              statement
	deleteUnused               statement

	// platforms are the numbers of the platforms seen. It is emptied whenever
	// a transaction is undone, which may have made some of them.
	platforms map[string]int64

	// recent is what the newest events are found by.
	recent *recent

	insertEvents, mergeEntries bulk

	// loaded is how much content the open transaction has read, in bytes.
	loaded int

	// added is set if the last transaction that changed rows stored events.
	added bool

	// waiting are events of the open transaction that are not inserted yet.
	waiting []insertion

	ahead ahead
}

// insertion is an event that gets its row.
type insertion struct {
	seq, platform int64
	id            string
	event         *chargeingest.NewEvent
}

// openSession connects to the database, migrates it, and moves all of the
// write-ahead log into it. Nobody may be reading.
func openSession(ctx context.Context, f *file) (*session, error) {
	connector, err := f.connector(writerPragmas())
	if err != nil {
		return nil, err
	}
	made, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	beside, err := connector.Connect(ctx)
	if err != nil {
		return nil, errors.Join(err, made.Close())
	}
	s := &session{conn: conn{made}, beside: conn{beside}, platforms: make(map[string]int64)}
	s.ahead.absent = make(map[reference]bool)
	if f.guard == nil {
		err = f.openGuard(ctx)
	}
	if err == nil {
		err = s.requireAcknowledged(f)
	}
	if err == nil {
		err = f.migrate(s.conn)
	}
	if err == nil {
		err = s.prepareAll()
	}
	if err == nil {
		err = s.readRecent(f)
	}
	if err == nil {
		err = s.emptyLog()
	}
	if err == nil {
		err = syncFolder(f.path) // the log's entry in it may be new
	}
	if err == nil {
		s.log, err = os.Stat(f.path + "-wal")
		s.seen, f.log = time.Now(), s.log
	}
	if err == nil {
		err = f.settle(s.conn, s.recent.newest)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// requireAcknowledged refuses a database that misses events. SQLite replays a log
// up to the first damage in it without a word.
func (s *session) requireAcknowledged(f *file) error {
	newest := f.state.state.newest
	if newest == 0 && f.logged <= 0 {
		return nil // there may be no table of events
	}
	found, err := s.newestEvent()
	if err != nil {
		return err
	}
	if found < f.logged {
		return f.foreignLog("-wal", false, false) // it is older than the database
	}
	if found < newest {
		return f.missing(newest, found)
	}
	return nil
}

// schemaVersion returns the one that the connection sees.
func (s *session) schemaVersion() (uint32, error) {
	rows, err := s.query("PRAGMA schema_version")
	if err != nil {
		return 0, err
	}
	var version int64
	err = scan(rows[0], &version)
	return uint32(version), err
}

// hasLog says that the log is at its place.
func (s *session) hasLog(f *file) bool {
	now, err := os.Stat(f.path + "-wal")
	if err != nil || !os.SameFile(s.log, now) {
		return false
	}
	s.seen = time.Now()
	return true
}

// emptyLog moves all of the write-ahead log into the database, synced.
func (s *session) emptyLog() error {
	state, err := s.checkpoint("TRUNCATE")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if state.busy != 0 {
		return errors.New("checkpoint: the write-ahead log is in use; somebody has a transaction open, such as a sqlite3 shell")
	}
	return nil
}

func (s *session) prepareAll() error {
	for _, p := range []struct {
		statement *statement
		query     string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.totalChanges, "SELECT total_changes()"},
		{&s.setMark, "UPDATE identity SET mark = ? WHERE total_changes() > ?"},
		{&s.logSize, "PRAGMA wal_checkpoint(NOOP)"},
		{&s.findPlatform, "SELECT id FROM platforms WHERE name = ?"},
		{&s.addPlatform, "INSERT INTO platforms (name) VALUES (?)"},
		{&s.findRequest, "SELECT id, route, digest FROM requests WHERE platform = ? AND key = ?"},
		{&s.requestEvents, "SELECT coalesce(sent, ''), " + eventColumns + " FROM request_events JOIN events ON seq = event WHERE request = ? ORDER BY position"},
		{&s.findReference, "SELECT " + eventColumns + " FROM lookup CROSS JOIN events USING (seq) " +
			"WHERE kind = " + fmt.Sprint(int(byReference)) + " AND lookup.platform = ? AND value = ? AND reference = value"},
		{&s.findReferences, "SELECT value FROM lookup WHERE kind = " + fmt.Sprint(int(byReference)) +
			" AND platform = ? AND value IN (?" + strings.Repeat(", ?", referencesAtOnce-1) + ")"},
		{&s.eventAt, "SELECT " + eventColumns + " FROM events WHERE seq = ?"},
		{&s.setMerged, "UPDATE merged SET seq = ?"},
		{&s.bindRequest, "INSERT INTO requests (platform, key, route, digest, bound_ms) VALUES (?, ?, ?, ?, ?)"},
		{&s.bindEvent, "INSERT INTO request_events (request, position, event, sent) VALUES (?, ?, (SELECT seq FROM events WHERE id = ?), ?)"},
		{&s.oldRequest, "SELECT id FROM requests WHERE bound_ms < ? ORDER BY bound_ms LIMIT 1"},
		{&s.requestPlaces, "SELECT DISTINCT event FROM request_events WHERE request = ?"},
		{&s.deleteRequest, "DELETE FROM requests WHERE id = ?"},
		{&s.oldEvents, "SELECT seq, id, " + receivedMilliseconds + " < ? FROM events WHERE id > ? AND id < ? ORDER BY id LIMIT ?"},
		{&s.deleteUnheld, "DELETE FROM events WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM request_events WHERE event = seq)"},
		{&s.addBackdated, "INSERT INTO backdated (received_ms, seq) VALUES (?, ?)"},
		{&s.oldBackdated, "SELECT received_ms, seq FROM backdated WHERE (received_ms, seq) > (?, ?) AND received_ms < ? ORDER BY received_ms, seq LIMIT ?"},
		{&s.receivedAt, "SELECT " + receivedMilliseconds + " FROM events WHERE id = ?"},
		{&s.somePlatforms, "SELECT id FROM platforms WHERE id > ? ORDER BY id LIMIT ?"},
		{&s.deleteUnused, "DELETE FROM platforms WHERE id > ? AND id <= ? AND NOT EXISTS (SELECT 1 FROM events WHERE platform = platforms.id) " +
			"AND NOT EXISTS (SELECT 1 FROM requests WHERE platform = platforms.id)"},
	} {
		var err error
		if *p.statement, err = s.prepared(p.query); err != nil {
			return err
		}
	}
	var err error
	if s.insertEvents, err = s.prepareBulk(16, `INSERT INTO events (seq, id, platform, reference, customer_id, customer_reference,
		pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id, timestamp_s, timestamp_ns,
		timestamp_assigned, received_s, received_ns, digest, content) VALUES `, ""); err != nil {
		return err
	}
	// After a crash some of a generation are there.
	s.mergeEntries, err = s.prepareBulk(4, "INSERT INTO lookup (kind, platform, value, seq) VALUES ", " ON CONFLICT DO NOTHING")
	return err
}

// prepared prepares a statement that is closed with the session.
func (s *session) prepared(query string) (statement, error) {
	p, err := s.prepare(query)
	if err == nil {
		s.statements = append(s.statements, p)
	}
	return p, err
}

// readRecent reads the events that are not all in the table lookup.
func (s *session) readRecent(f *file) error {
	newest, err := s.newestEvent()
	if err != nil {
		return err
	}
	s.recent = newRecent(f.tuning, newest)
	rows, err := s.query(`SELECT seq, platform, name, coalesce(reference, ''), coalesce(customer_id, ''), coalesce(customer_reference, '')
		FROM events JOIN platforms ON platforms.id = platform WHERE seq > (SELECT seq FROM merged) ORDER BY seq`)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var e recentEvent
		if err := scan(row, &e.seq, &e.number, &e.platform, &e.values[0], &e.values[1], &e.values[2]); err != nil {
			return err
		}
		s.recent.young.add(e)
	}
	if len(rows) >= 2*f.generation {
		return s.mergeAll(f)
	}
	s.recent.commit()
	return nil
}

// mergeAll merges all events that were read. They are more than a store leaves
// behind that finishes what it begins: it is opened often, perhaps, and takes
// little in each time, and would have more of them every time.
func (s *session) mergeAll(f *file) error {
	events := s.recent.young.events
	if _, err := s.begin.exec(); err != nil {
		return err
	}
	if err := s.insertEntries(entries(events)); err != nil {
		return err
	}
	if _, err := s.setMerged.exec(events[len(events)-1].seq); err != nil {
		return err
	}
	if err := s.exec(setMark(f.next(s.recent.newest))); err != nil {
		return err
	}
	if _, err := s.commit.exec(); err != nil {
		return err
	}
	s.recent = newRecent(f.tuning, s.recent.newest)
	return nil
}

func (s *session) insertEntries(list []entry) error {
	return s.mergeEntries.insert(len(list), func(i int, set func(...driver.Value)) {
		e := &list[i]
		set(int64(e.kind), e.number, e.value, e.seq)
	})
}

// finish does what a transaction has to do before its commit: insert what is
// waiting, and merge what is due of the recent events' entries into the table
// lookup.
func (s *session) finish() error {
	if err := s.flush(len(s.waiting)); err != nil {
		return err
	}
	if len(s.recent.written.deleted) > 0 {
		return nil // some of the due entries may be those of deleted events
	}
	entries, last, through := s.recent.due()
	if err := s.insertEntries(entries); err != nil {
		return err
	}
	s.recent.written.entries = len(entries)
	if last {
		if _, err := s.setMerged.exec(through); err != nil {
			return err
		}
		s.recent.written.merged = true
	}
	return nil
}

// committed and undone say what became of the open transaction.
func (s *session) committed() {
	s.recent.commit()
	clear(s.ahead.absent)
}

func (s *session) undone() {
	s.recent.rollback()
	clear(s.ahead.absent)
	clear(s.platforms)
	s.waiting = s.waiting[:0]
}

// Close closes the connection; what was not committed is undone. SQLite keeps
// a connection, and its transaction, as long as it has statements.
func (s *session) Close() error {
	var errs []error
	for _, statement := range s.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, s.beside.Close(), s.conn.Close())...)
}

// idGenerator continues behind the newest event.
func (s *session) idGenerator(entropy io.Reader) (*storekit.IDGenerator, error) {
	rows, err := s.query("SELECT id FROM events ORDER BY seq DESC LIMIT 1")
	if err != nil {
		return nil, err
	}
	var last string
	if len(rows) > 0 {
		if err := scan(rows[0], &last); err != nil {
			return nil, err
		}
	}
	return storekit.NewIDGenerator(entropy, last)
}

// logState returns how the write-ahead log is, without changing it.
func (s *session) logState() (l logState, err error) {
	defer panics.RecoverTo(&err)
	return scanLogState(s.logSize.query())
}

// changes returns how many rows the connection has changed so far.
func (s *session) changes() (n int64, err error) {
	rows, err := s.totalChanges.query()
	if err == nil {
		err = scan(rows[0], &n)
	}
	return n, err
}

// mark sets the next mark if the open transaction has changed rows, which were so
// many before. It returns the mark that the database has once that is committed.
func (s *session) mark(f *file, before int64) (mark, error) {
	next := f.next(s.recent.newest)
	result, err := s.setMark.exec(next.encode(), before)
	if err != nil {
		return f.mark, err
	}
	if set, err := result.RowsAffected(); err != nil || set == 0 {
		return f.mark, err
	}
	return next, nil
}

// markClosed notes in the database that it was closed, which is a hint: an error is
// of no consequence.
func (s *session) markClosed(f *file) {
	if _, err := s.begin.exec(); err != nil {
		return
	}
	closed := f.next(s.recent.newest)
	closed.open = false
	err := s.exec(setMark(closed))
	if err == nil {
		_, err = s.commit.exec()
	}
	if err != nil {
		_ = s.exec("ROLLBACK")
	}
}

// touch writes what is there already, to see whether writing works.
func (s *session) touch() error { return s.exec("UPDATE merged SET seq = seq") }

// eventColumns are those that scanEvent reads.
const eventColumns = "id, content, timestamp_assigned, digest"

// scanEvent reads eventColumns, and what comes before them into more.
func scanEvent(scan func(...any) error, more ...any) (chargeingest.StoredEvent, error) {
	var e chargeingest.StoredEvent
	var digest []byte
	if err := scan(append(more, &e.ID, &e.Content, &e.TimestampAssigned, &digest)...); err != nil {
		return e, err
	}
	if len(digest) != len(e.Digest) {
		return e, fmt.Errorf("event %s has a digest of %d bytes", e.ID, len(digest))
	}
	copy(e.Digest[:], digest)
	return e, nil
}

// platform returns the number of a platform, 0 where it has none.
func (s *session) platform(name string) (int64, error) {
	if id, ok := s.platforms[name]; ok {
		return id, nil
	}
	rows, err := s.findPlatform.query(name)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	var id int64
	if err := scan(rows[0], &id); err != nil {
		return 0, err
	}
	s.platforms[name] = id
	return id, nil
}

// IdempotencyRecord implements [storekit.Lookup].
func (s *session) IdempotencyRecord(_ context.Context, platform, key string) (*storekit.IdempotencyRecord, error) {
	number, err := s.platform(platform)
	if err != nil || number == 0 {
		return nil, err
	}
	rows, err := s.findRequest.query(number, key)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var id int64
	var route string
	var digest []byte
	if err := scan(rows[0], &id, &route, &digest); err != nil {
		return nil, err
	}
	bound := &storekit.IdempotencyRecord{Route: chargeingest.Route(route)}
	copy(bound.Digest[:], digest)
	rows, err = s.requestEvents.query(id)
	if err != nil {
		return nil, err
	}
	bound.Events = make([]storekit.RecordedEvent, len(rows))
	for i, row := range rows {
		e := &bound.Events[i]
		var text string
		e.StoredEvent, err = scanEvent(func(d ...any) error { return scan(row, d...) }, &text)
		s.loaded += len(e.Content) + len(text)
		if err == nil {
			err = e.DecodeSent(&text)
		}
		if err != nil {
			return nil, err
		}
	}
	return bound, nil
}

// firstEvent reads the first row of eventColumns, nil if there is none.
func (s *session) firstEvent(rows [][]driver.Value, err error) (*chargeingest.StoredEvent, error) {
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	e, err := scanEvent(func(d ...any) error { return scan(rows[0], d...) })
	if err != nil {
		return nil, err
	}
	s.loaded += len(e.Content)
	return &e, nil
}

// append stores a batch in the transaction that is open. Where the error is a
// refusal nothing was written.
func (s *session) append(a storekit.Attempt, nextID func(time.Time) (string, error)) (chargeingest.AppendResult, error) {
	b := a.Batch
	decision, err := a.Decide(context.Background(), s)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	platform, err := s.platform(b.Platform)
	if err == nil && platform == 0 {
		platform, err = inserted(s.addPlatform.exec(b.Platform))
	}
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	s.platforms[b.Platform] = platform
	receipt, err := decision.Apply(func(i int) (string, error) {
		id, err := nextID(b.Events[i].ReceivedAt)
		if err != nil {
			return "", err
		}
		seq := s.recent.next()
		s.recent.add(seq, platform, b.Platform, &b.Events[i])
		if received := b.Events[i].ReceivedAt; id >= storekit.FirstID(received.Add(backdatedAfter)) {
			if _, err := s.addBackdated.exec(received.UnixMilli(), seq); err != nil {
				return "", err
			}
		}
		s.waiting = append(s.waiting, insertion{seq, platform, id, &b.Events[i]})
		return id, nil
	})
	if err == nil {
		err = s.flush(len(s.waiting) - len(s.waiting)%rowsAtOnce)
	}
	if bound := decision.IdempotencyRecord(receipt); err == nil && bound != nil {
		err = s.bind(platform, b, receipt, bound)
	}
	return receipt, err
}

// flush inserts the first n of the events that are waiting.
func (s *session) flush(n int) error {
	err := s.insertEvents.insert(n, func(i int, set func(...driver.Value)) {
		e := s.waiting[i].event
		set(s.waiting[i].seq, s.waiting[i].id, s.waiting[i].platform,
			orNull(e.Reference), orNull(e.CustomerID), orNull(e.CustomerReference),
			orNull(e.PricingPlanSubscriptionID), orNull(e.PricingPlanSubscriptionReference), e.ProductItemID,
			e.Timestamp.Unix(), int64(e.Timestamp.Nanosecond()), e.TimestampAssigned,
			e.ReceivedAt.Unix(), int64(e.ReceivedAt.Nanosecond()), e.Digest[:], e.Content)
	})
	s.waiting = slices.Delete(s.waiting, 0, n)
	return err
}

// bind keeps what a request with an idempotency key was answered with.
func (s *session) bind(platform int64, b chargeingest.Batch, receipt chargeingest.AppendResult, request *storekit.IdempotencyRecord) error {
	if err := s.flush(len(s.waiting)); err != nil {
		return err
	}
	bound, err := s.bound(b, receipt)
	if err != nil {
		return err
	}
	number, err := inserted(s.bindRequest.exec(platform, b.IdempotencyKey, string(request.Route), request.Digest[:], bound))
	if err != nil {
		return err
	}
	for i := range request.Events {
		e := &request.Events[i]
		if _, err := s.bindEvent.exec(number, int64(i), e.ID, orNil(e.EncodeSent())); err != nil {
			return err
		}
	}
	return nil
}

// bound returns when a request was received, in milliseconds since 1970, or the
// last of its events if that is later.
func (s *session) bound(b chargeingest.Batch, receipt chargeingest.AppendResult) (int64, error) {
	bound := b.Events[0].ReceivedAt.UnixMilli()
	for i, o := range receipt.Outcomes {
		received := b.Events[i].ReceivedAt.UnixMilli()
		if o.Replayed {
			rows, err := s.receivedAt.query(o.ID)
			if err != nil {
				return 0, err
			}
			if err := scan(rows[0], &received); err != nil {
				return 0, err
			}
		}
		bound = max(bound, received)
	}
	return bound, nil
}

// inserted returns the number of the row that was inserted.
func inserted(result driver.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

func orNil(text *string) driver.Value {
	if text == nil {
		return nil
	}
	return *text
}

// orNull returns nil for a text that is not set.
func orNull(text string) driver.Value {
	if text == "" {
		return nil
	}
	return text
}

package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"example.com/chargeingest"
)

// errPoison marks a failure that a batch itself may be the cause of, not the
// disk: the other batches of its group deserve a transaction of their own.
var errPoison = errors.New("the batch cannot be stored")

// writer owns the one connection that writes. Only the writer's goroutine
// uses it, and Open and Close before and after.
type writer struct {
	path   string
	logger *slog.Logger
	ids    *chargeingest.IDGenerator

	db    *sql.DB
	conn  *sql.Conn
	stmts statements

	// platforms are the numbers of those that are committed.
	platforms map[string]int64

	// broken is why the connection is not to be trusted: what it committed
	// last may not be on the disk. Nothing is acknowledged before it was
	// reopened and checkpointed.
	broken error
}

// statements are prepared once per connection.
type statements struct {
	platform, addPlatform, byReference, insert *sql.Stmt
	request, requestEvents, bind, bindEvent    *sql.Stmt
}

func (st *statements) prepare(ctx context.Context, conn *sql.Conn) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&st.platform, `SELECT id FROM platforms WHERE name = ?`},
		{&st.addPlatform, `INSERT INTO platforms (name) VALUES (?)`},
		{&st.byReference, `SELECT id, content, timestamp_assigned, digest FROM events WHERE platform = ? AND reference = ?`},
		{&st.insert, `INSERT INTO events (id, platform, reference, customer_id, customer_reference,
			pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id,
			timestamp_s, timestamp_ns, timestamp_assigned, received_s, received_ns, digest, content)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&st.request, `SELECT id, route, digest FROM requests WHERE platform = ? AND key = ?`},
		{&st.requestEvents, `SELECT e.id, e.content, e.timestamp_assigned, e.digest FROM request_events AS r
			JOIN events AS e ON e.seq = r.event WHERE r.request = ? ORDER BY r.position`},
		{&st.bind, `INSERT INTO requests (platform, key, route, digest, bound_ms) VALUES (?, ?, ?, ?, ?)`},
		{&st.bindEvent, `INSERT INTO request_events (request, position, event) VALUES (?, ?, (SELECT seq FROM events WHERE id = ?))`},
	} {
		var err error
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	return nil
}

// openWriter opens the connection, takes over what a crash left, and migrates.
func openWriter(ctx context.Context, path string, options Options) (*writer, error) {
	w := &writer{path: path, logger: options.Logger}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	var last string
	err := w.conn.QueryRowContext(ctx, `SELECT id FROM events ORDER BY id DESC LIMIT 1`).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, errors.Join(err, w.close())
	}
	w.ids, err = chargeingest.NewIDGenerator(options.Entropy, last)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) open(ctx context.Context) error {
	var err error
	if w.db, err = openDB(w.path, writerPragmas()); err != nil {
		return err
	}
	w.db.SetMaxOpenConns(1)
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return err
	}
	// After a crash a row can be visible that was never synced. Its retry is
	// answered as a replay, without a write, so the row has to be on the disk
	// before anything is answered.
	if err := w.checkpoint(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, w.conn); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(w.path)); err != nil {
		return err
	}
	w.platforms = make(map[string]int64)
	return w.stmts.prepare(ctx, w.conn)
}

// checkpoint moves the whole write-ahead log into the database and syncs both.
func (w *writer) checkpoint(ctx context.Context) error {
	var busy, frames, moved int
	err := w.conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &moved)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	// Busy with nothing left to move is a reader that keeps the log from being
	// cut, not from being synced.
	if busy != 0 && frames != moved {
		return errors.New("checkpoint: another process reads the database and keeps it from being checkpointed")
	}
	return nil
}

func (w *writer) close() error {
	var errs []error
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	if w.db != nil {
		errs = append(errs, w.db.Close())
	}
	w.conn, w.db = nil, nil
	return errors.Join(errs...)
}

// distrust stops all acknowledgements until the database was reopened.
func (w *writer) distrust(cause error) {
	w.broken = cause
	w.logger.Error("charge event database failed; it will be reopened before anything is acknowledged", "error", cause)
}

// heal reopens the database where it is not to be trusted.
func (w *writer) heal(ctx context.Context) error {
	if w.broken == nil {
		return nil
	}
	if err := w.close(); err != nil {
		w.logger.Warn("closing the failed charge event database", "error", err)
	}
	if err := w.open(ctx); err != nil {
		w.broken = err
		return errors.Join(fmt.Errorf("reopen the database: %w", err), w.close())
	}
	w.broken = nil
	w.logger.Info("charge event database reopened and checkpointed")
	return nil
}

// check says whether a transaction can be begun.
func (w *writer) check() error {
	ctx := context.Background()
	if err := w.heal(ctx); err != nil {
		return err
	}
	if _, err := w.conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	_, err := w.conn.ExecContext(ctx, `ROLLBACK`)
	return err
}

// transact stores the batches of a group in one transaction of the store's
// own: no caller's context reaches into it. Its error is of all of them.
func (w *writer) transact(group []*request) ([]result, error) {
	ctx := context.Background()
	if err := w.heal(ctx); err != nil {
		return nil, notStored(err)
	}
	if _, err := w.conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return nil, w.failed(err)
	}
	tx := &transaction{writer: w, platforms: make(map[string]int64)}
	results := make([]result, len(group))
	for i, r := range group {
		receipt, err := tx.store(ctx, &r.batch)
		var conflict *chargeingest.ConflictError
		if err != nil && !errors.As(err, &conflict) {
			return nil, w.rollback(ctx, err)
		}
		results[i] = result{receipt, err}
	}
	if _, err := w.conn.ExecContext(ctx, `COMMIT`); err != nil {
		return nil, w.commitFailed(ctx, err)
	}
	for name, id := range tx.platforms {
		w.platforms[name] = id
	}
	return results, nil
}

// failed is the error of a statement before the commit: nothing is stored.
func (w *writer) failed(err error) error {
	if isDamage(err) {
		w.distrust(err)
	}
	return notStored(err)
}

// rollback undoes a transaction after the error of one of its batches.
func (w *writer) rollback(ctx context.Context, cause error) error {
	// SQLite may have rolled back by itself, then this fails and means nothing.
	_, err := w.conn.ExecContext(ctx, `ROLLBACK`)
	if isDamage(cause) || isDamage(err) {
		w.distrust(errors.Join(cause, err))
	}
	if isDamage(cause) || isFull(cause) {
		return notStored(cause)
	}
	return errors.Join(errPoison, notStored(cause))
}

// commitFailed is the error of a commit. Where there was no room for the last
// page, or no lock, the transaction is certainly gone. After any other error
// its commit may stand in the log, and a crash may bring it back: unknown.
func (w *writer) commitFailed(ctx context.Context, cause error) error {
	_, err := w.conn.ExecContext(ctx, `ROLLBACK`)
	if isFull(cause) || isBusy(cause) {
		if isDamage(err) {
			w.distrust(errors.Join(cause, err))
		}
		return notStored(cause)
	}
	w.distrust(errors.Join(cause, err))
	return fmt.Errorf("commit: %w", cause)
}

// transaction stores batches one after another; each sees those before it.
type transaction struct {
	*writer
	platforms map[string]int64 // that it has added
}

var _ chargeingest.Lookup = (*transaction)(nil)

// store stores one batch or, where it conflicts, nothing: what is there is
// looked up before anything is written.
func (tx *transaction) store(ctx context.Context, b *chargeingest.Batch) (chargeingest.Receipt, error) {
	decision, err := chargeingest.Decide(ctx, *b, tx)
	if err != nil {
		return chargeingest.Receipt{}, err
	}
	platform, err := tx.platform(ctx, b.Platform, true)
	if err != nil {
		return chargeingest.Receipt{}, err
	}
	receipt, err := decision.Apply(func(i int) (string, error) { return tx.insert(ctx, platform, &b.Events[i]) })
	if err == nil && decision.BindsKey() {
		err = tx.bind(ctx, platform, b, receipt)
	}
	return receipt, err
}

// platform returns the number of a platform; 0 where it has none and is not to
// get one.
func (tx *transaction) platform(ctx context.Context, name string, add bool) (int64, error) {
	if id, ok := tx.writer.platforms[name]; ok {
		return id, nil
	}
	if id, ok := tx.platforms[name]; ok {
		return id, nil
	}
	var id int64
	err := tx.stmts.platform.QueryRowContext(ctx, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		if !add {
			return 0, nil
		}
		var res sql.Result
		if res, err = tx.stmts.addPlatform.ExecContext(ctx, name); err == nil {
			id, err = res.LastInsertId()
		}
	}
	if err != nil {
		return 0, err
	}
	tx.platforms[name] = id
	return id, nil
}

func (tx *transaction) insert(ctx context.Context, platform int64, e *chargeingest.NewEvent) (string, error) {
	id, err := tx.ids.Next(e.ReceivedAt)
	if err != nil {
		return "", err
	}
	_, err = tx.stmts.insert.ExecContext(ctx, id, platform, nullable(e.Reference), nullable(e.CustomerID), nullable(e.CustomerReference),
		nullable(e.PricingPlanSubscriptionID), nullable(e.PricingPlanSubscriptionReference), e.ProductItemID,
		e.Timestamp.Unix(), e.Timestamp.Nanosecond(), e.TimestampAssigned,
		e.ReceivedAt.Unix(), e.ReceivedAt.Nanosecond(), e.Digest[:], string(e.Content))
	return id, err
}

// nullable is NULL for what is empty.
func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func (tx *transaction) bind(ctx context.Context, platform int64, b *chargeingest.Batch, receipt chargeingest.Receipt) error {
	res, err := tx.stmts.bind.ExecContext(ctx, platform, b.IdempotencyKey, string(b.Route), b.Digest[:], boundAt(b).UnixMilli())
	if err != nil {
		return err
	}
	request, err := res.LastInsertId()
	if err != nil {
		return err
	}
	for i := range receipt.Outcomes {
		if _, err := tx.stmts.bindEvent.ExecContext(ctx, request, i, receipt.Outcomes[i].ID); err != nil {
			return err
		}
	}
	return nil
}

// boundAt is when a request was received: when its events were.
func boundAt(b *chargeingest.Batch) time.Time { return b.Events[0].ReceivedAt }

// EventByReference implements [chargeingest.Lookup].
func (tx *transaction) EventByReference(ctx context.Context, platform, reference string) (*chargeingest.StoredEvent, error) {
	id, err := tx.platform(ctx, platform, false)
	if err != nil || id == 0 {
		return nil, err
	}
	var e chargeingest.StoredEvent
	err = scanEvent(tx.stmts.byReference.QueryRowContext(ctx, id, reference), &e)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &e, err
}

// BoundRequest implements [chargeingest.Lookup].
func (tx *transaction) BoundRequest(ctx context.Context, platform, key string) (bound *chargeingest.BoundRequest, err error) {
	id, err := tx.platform(ctx, platform, false)
	if err != nil || id == 0 {
		return nil, err
	}
	var request int64
	var route string
	var digest []byte
	err = tx.stmts.request.QueryRowContext(ctx, id, key).Scan(&request, &route, &digest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	bound = &chargeingest.BoundRequest{Route: chargeingest.Route(route)}
	if bound.Digest, err = toDigest(digest); err != nil {
		return nil, err
	}
	rows, err := tx.stmts.requestEvents.QueryContext(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e chargeingest.StoredEvent
		if err := scanEvent(rows, &e); err != nil {
			return nil, err
		}
		bound.Events = append(bound.Events, e)
	}
	return bound, rows.Err()
}

// scanEvent reads id, content, timestamp_assigned and digest.
func scanEvent(row interface{ Scan(...any) error }, e *chargeingest.StoredEvent, more ...any) error {
	var digest []byte
	if err := row.Scan(append([]any{&e.ID, &e.Content, &e.TimestampAssigned, &digest}, more...)...); err != nil {
		return err
	}
	var err error
	e.Digest, err = toDigest(digest)
	return err
}

func toDigest(b []byte) (chargeingest.Digest, error) {
	if len(b) != len(chargeingest.Digest{}) {
		return chargeingest.Digest{}, fmt.Errorf("stored digest has %d bytes", len(b))
	}
	return chargeingest.Digest(b), nil
}

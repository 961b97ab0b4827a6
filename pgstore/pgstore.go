// Package pgstore keeps charge events in PostgreSQL, for teams whose events
// outgrow one machine and who run a database cluster already.
//
//	pool, err := pgxpool.New(ctx, "postgres://…")
//	store, err := pgstore.New(ctx, pool, pgstore.Options{})
//
// Any number of processes may have a [Store] of the same database: the handlers
// are stateless. The host owns the pool and closes it after the store.
//
// An event that was acknowledged was committed by the server with the durability
// that it is configured for: synchronous_commit, and synchronous_standby_names
// where an event must outlive the loss of a machine. [New] refuses a server that
// acknowledges what it has not written.
//
// # How it stores
//
// One goroutine of a process stores. What waits for it goes into one transaction
// and, where nothing of it is stored already, over the wire in one round trip.
// Platforms take turns while they wait.
//
// A transaction locks the rows of its platforms, in the order of their names,
// before it does anything else, and has the lock until it is committed. So
// duplicates cannot slip in between, processes do not deadlock, and the sequence
// of a platform's events is the order in which they become visible: a listing
// passes over nothing.
//
// # When the database is away
//
// The error of Append is chargeingest.ErrNotStored if nothing was stored:
//
//   - the server is read-only or shuts down, or there is no connection;
//   - the connection is lost before the commit was sent, or the server says that it
//     ended the session before the commit;
//   - another session has locked the platform for longer than Options.StatementTimeout.
//
// If the connection is lost otherwise, the outcome is not known, and the error is none
// of the sentinels. The store connects again by itself, and resets the pool, whose other
// connections lead to the same server. Give the pool a connect_timeout, and with a
// standby target_session_attrs=read-write and [WatchStandby].
//
// # Sharing
//
// The store has one connection more than the pool: the writer's own, so that neither
// reads nor the host keep events from being stored. Reads leave one connection of the
// pool free. Scans, which are listings by a filter without an index, use half of them,
// and platforms take turns.
//
// A platform that another session has locked holds the others up once, for a fifth of
// Options.StatementTimeout. After that its requests stay in the queue while the others
// are stored. Listings are of the primary: a standby that lags refuses cursors. A process
// that is cut off while it sends new events holds nobody up: the lock is taken when all of
// them have arrived. If some are known, the process has the lock already, for
// Options.StatementTimeout at most. Only the last hundred bytes, the commit, come after
// that: tcp_user_timeout and tcp_keepalives_idle on the server bound that time.
package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/storekit"
)

var (
	_ chargeingest.EventStore    = (*Store)(nil)
	_ chargeingest.EventReader   = (*Store)(nil)
	_ chargeingest.ReadyChecker  = (*Store)(nil)
	_ chargeingest.StatsReporter = (*Store)(nil)
	_ io.Closer                  = (*Store)(nil)
)

var (
	// ErrSchemaTooNew says that the tables were made by a newer version of this
	// package, which this one cannot read.
	ErrSchemaTooNew = errors.New("charge event tables of a newer version")

	// ErrNotDurable says that the server acknowledges what a crash of it can
	// lose: synchronous_commit or fsync is off.
	ErrNotDurable = errors.New("the server is not durable")
)

// Options are the settings of a [Store]. The zero value has the defaults.
type Options struct {
	// Schema is where the tables are, which are made where they are not there, and so is
	// the schema. 1 to 63 lower-case letters, digits and underscores, no digit first.
	// Default: chargeingest.
	Schema string

	// AllowNonDurable takes a server whose synchronous_commit or fsync is off:
	// for tests, never for events that somebody bills from.
	AllowNonDurable bool

	// Entropy is where the random part of the ids comes from.
	// Default: crypto/rand.Reader.
	Entropy io.Reader

	// StatementTimeout bounds each statement of a transaction that stores; a fifth
	// of it bounds the wait for the lock of a platform, the whole of it how long one that
	// the server undoes is tried again, three of it a transaction, and six of it all.
	// At least 5 ms. Default: 5 s.
	StatementTimeout time.Duration

	// AcquireTimeout bounds how long to wait for a connection, and how long a read
	// waits for its turn. Default: 2 s.
	AcquireTimeout time.Duration

	// ScanTimeout bounds one call of Get or List, and how long a scan waits for its
	// turn; what takes longer is chargeingest.ErrScanLimit. Default: 2 s.
	ScanTimeout time.Duration

	// MaxQueuedEvents bounds the events that wait to be stored; what is beyond is
	// chargeingest.ErrOverloaded. Default: 20,000.
	MaxQueuedEvents int

	// MaxTransactionEvents bounds the events of one transaction. A batch that is
	// larger by itself has a transaction of its own. Default: 2,000.
	MaxTransactionEvents int

	// Observer, if set, is called after each transaction that stored events, or
	// was to. Those whose events it has, and the next transaction, wait for it,
	// so it must not call what waits for them: Append or Close.
	Observer func(chargeingest.CommitStats)

	// Logger is told what a caller cannot see, such as a server that went away.
	// Default: slog.Default().
	Logger *slog.Logger
}

// isSchema is what a schema may be called. It is quoted all the same: some of
// these are words of SQL.
var isSchema = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// withDefaults returns the options with their defaults in place, or an error
// that names the field that is wrong.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Schema != "" && !isSchema.MatchString(o.Schema):
		return o, errors.New("Options.Schema must be 1 to 63 lower-case letters, digits and underscores, no digit first")
	case o.StatementTimeout < 0 || o.StatementTimeout > 0 && o.StatementTimeout < 5*time.Millisecond || o.StatementTimeout > time.Hour:
		return o, errors.New("Options.StatementTimeout must be from 5 ms to an hour")
	case o.AcquireTimeout < 0:
		return o, errors.New("Options.AcquireTimeout is negative")
	case o.ScanTimeout < 0:
		return o, errors.New("Options.ScanTimeout is negative")
	case o.MaxQueuedEvents < 0:
		return o, errors.New("Options.MaxQueuedEvents is negative")
	case o.MaxTransactionEvents < 0:
		return o, errors.New("Options.MaxTransactionEvents is negative")
	}
	if o.Schema == "" {
		o.Schema = "chargeingest"
	}
	if o.Entropy == nil {
		o.Entropy = rand.Reader
	}
	if o.StatementTimeout == 0 {
		o.StatementTimeout = 5 * time.Second
	}
	if o.AcquireTimeout == 0 {
		o.AcquireTimeout = 2 * time.Second
	}
	if o.ScanTimeout == 0 {
		o.ScanTimeout = 2 * time.Second
	}
	if o.MaxQueuedEvents == 0 {
		o.MaxQueuedEvents = 20_000
	}
	if o.MaxTransactionEvents == 0 {
		o.MaxTransactionEvents = 2000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// Store is a [chargeingest.EventStore] in PostgreSQL. Safe for concurrent use.
type Store struct {
	options Options
	pool    *pgxpool.Pool
	sql     *statements
	reset   func() // of the pool
	writer  *writer

	// Reads leave one connection of the pool free, scans half of them.
	reads, scans *limits.Gate

	// reading counts those who read; closed says that nobody may begin to.
	mu      sync.Mutex
	closed  bool
	reading sync.WaitGroup
	once    sync.Once
}

// New returns a store in the database that pool leads to. It makes or migrates
// the tables, which many processes may do at once while processes of the version
// before go on storing. A migration waits for transactions that have read the tables,
// such as a dump, as long as the context lasts. The context is for New alone.
//
// The error is an [ErrSchemaTooNew] or [ErrNotDurable] where it applies.
func New(ctx context.Context, pool *pgxpool.Pool, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	connections := int(pool.Config().MaxConns)
	s := &Store{
		options: o, pool: pool, sql: newStatements(quoted(o.Schema)), reset: resetter(pool),
		reads: limits.NewGate(connections - 1), scans: limits.NewGate(connections / 2),
	}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if err := checkServer(ctx, conn.Conn(), s.options); err != nil {
		return err
	}
	m := migrator{schema: s.options.Schema, logger: s.options.Logger, guard: conn.Conn(), dial: func(ctx context.Context) (*pgx.Conn, error) {
		cfg := s.pool.Config()
		ContainPanics(cfg, s.options.Logger)
		return dial(ctx, cfg)
	}}
	if err := m.run(ctx); err != nil {
		return fmt.Errorf("migrate the tables: %w", err)
	}
	if err := checkRights(conn.QueryRow(ctx, s.sql.rights)); err != nil {
		return err
	}
	var newest string
	if err := conn.QueryRow(ctx, s.sql.newestID).Scan(&newest); err != nil {
		return fmt.Errorf("find the newest id: %w", err)
	}
	if s.writer, err = newWriter(s, newest); err != nil {
		return err
	}
	go s.writer.run()
	return nil
}

// quoted is the name of a schema as it stands in a statement.
func quoted(schema string) string { return pgx.Identifier{schema}.Sanitize() }

// Append implements [chargeingest.EventStore]. The id of an event carries the
// time of its receipt; over several processes ids are in the order of storing
// only as far as their clocks agree.
func (s *Store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	b.Platform = platformText(b.Platform)
	return storekit.Append(ctx, b, func(a storekit.Attempt) (chargeingest.AppendResult, error) {
		return s.writer.queue.Append(ctx, a)
	})
}

// platformText is the name of a platform as a text that the database can hold:
// without a zero byte, and in UTF-8.
func platformText(name string) string {
	if utf8.ValidString(name) && !strings.ContainsAny(name, "\x00\\") {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c == 0 || c == '\\' || c >= utf8.RuneSelf {
			fmt.Fprintf(&b, "\\%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Ready implements [chargeingest.ReadyChecker]: it asks the server whether it
// takes writes, of this role.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.reading.Done()
	return s.query(ctx, s.checkWritable) // without a turn: reads leave a connection free
}

// Stats implements [chargeingest.StatsReporter].
func (s *Store) Stats() chargeingest.StoreStats { return s.writer.report() }

// Close refuses further calls with chargeingest.ErrClosed, stores what waits to
// be stored, and returns when nothing of the store uses the pool any more. It
// does not close the pool.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.writer.queue.Close()
		<-s.writer.stopped
		s.reading.Wait()
	})
	return nil
}

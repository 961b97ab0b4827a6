package pgstore

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"time"

	"example.com/chargeingest"
)

// Options are the settings of a [Store]. The zero value selects the defaults.
type Options struct {
	// Schema is the schema of the tables, created if needed: 1 to 63 lower-case letters,
	// digits and underscores, not starting with a digit. Default: chargeingest.
	Schema string

	// AllowNonDurable, for tests, accepts synchronous_commit = off and fsync = off.
	AllowNonDurable bool

	// Entropy is the source of the random part of ids. Default: crypto/rand.Reader.
	Entropy io.Reader

	// StatementTimeout bounds each statement that stores, and retries after a rollback. A
	// locked platform may delay others for a fifth of it. A transaction may take three times as
	// long, Append six times. 5 ms to an hour. Default: 5 s.
	StatementTimeout time.Duration

	// AcquireTimeout bounds the wait for a connection, and that of a read for its turn.
	// Default: 2 s.
	AcquireTimeout time.Duration

	// ScanTimeout bounds each Get and List, and a scan's wait for its turn. Then they return
	// chargeingest.ErrScanLimit. Default: 2 s.
	ScanTimeout time.Duration

	// MaxQueuedEvents bounds the queued events. Beyond it Append returns
	// chargeingest.ErrOverloaded. An empty queue accepts any batch. Default: 20,000.
	MaxQueuedEvents int

	// MaxTransactionEvents bounds the events of a transaction. A larger batch gets its own.
	// Default: 2,000.
	MaxTransactionEvents int

	// Observer, if set, is called after each transaction that stored events or failed.
	// The writer waits for it, so it must not call Append or Close.
	Observer func(chargeingest.CommitStats)

	// Logger receives errors that no caller sees. Default: slog.Default().
	Logger *slog.Logger
}

// schemaName matches keywords, too: statements quote the name.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Schema != "" && !schemaName.MatchString(o.Schema):
		return o, errors.New("Options.Schema must be 1 to 63 lower-case letters, digits and underscores, not starting with a digit")
	case o.StatementTimeout < 0 || o.StatementTimeout > 0 && o.StatementTimeout < 5*time.Millisecond || o.StatementTimeout > time.Hour:
		return o, errors.New("Options.StatementTimeout must be from 5 ms to 1 hour")
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

package pgstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
)

var errReadOnly = errors.New("the server is read-only")

// Error codes of PostgreSQL (documentation, appendix A).
const (
	codeUniqueViolation      = "23505"
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeReadOnly             = "25006"
	codeQueryCanceled        = "57014"
	codeLockNotAvailable     = "55P03"
	codeCompletionUnknown    = "40003"
	codeNotSupported         = "0A000" // also of a plan whose tables have changed
)

// codeOf returns the code of a server's error, and "" for other errors.
func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isRolledBack reports whether the server rejected a statement, so that the transaction
// is rolled back and the connection can be used again.
//
// Some codes leave the outcome open: a lost connection behind a proxy or between the
// nodes of a cluster (08), CockroachDB's ambiguous result (40003), and system and
// internal errors (58, XX) in a commit.
func isRolledBack(err error, inCommit bool) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || severity(e) != "ERROR" || strings.HasPrefix(e.Code, "57P") {
		return false
	}
	if e.Code == codeCompletionUnknown || strings.HasPrefix(e.Code, "08") {
		return false
	}
	return !inCommit || !strings.HasPrefix(e.Code, "58") && !strings.HasPrefix(e.Code, "XX")
}

// severity falls back to the translated severity, as CockroachDB before 22 sends no other.
func severity(e *pgconn.PgError) string {
	if e.SeverityUnlocalized != "" {
		return e.SeverityUnlocalized
	}
	return e.Severity
}

// isSessionEnded reports whether the connection is lost and nothing was stored: nothing
// was sent, or the server reported the end of the session in response to a statement
// before the commit. Responses have the order of the statements, so the commit was not
// executed.
func isSessionEnded(err error, inCommit bool) bool {
	if errors.As(err, new(pgx.ErrPreprocessingBatch)) || pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed) {
		return true
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) || severity(e) != "FATAL" {
		return false
	}
	switch e.Code {
	case "25P03", "57P05": // it waited too long for the next statement
		return true
	case "25P04", "57P01", "57P02", "57P03":
		return !inCommit && e.Routine != "" // a proxy sends no routine
	}
	return false
}

func isUniqueViolation(err error) bool { return codeOf(err) == codeUniqueViolation }

// isTransient reports whether the server rolled back in favor of another transaction.
func isTransient(err error) bool {
	code := codeOf(err)
	return code == codeSerializationFailure || code == codeDeadlock
}

// isUnknown reports whether the transaction may have been committed.
func isUnknown(err error) bool { return errors.Is(err, chargeingest.ErrOutcomeUnknown) }

// sessionEndedError is the error of a lost connection after which nothing is stored.
type sessionEndedError struct{ error }

func (e sessionEndedError) Unwrap() error { return e.error }

// undecidedError is the error of a request that could not be decided, for example because
// stored content is not JSON.
type undecidedError struct{ error }

func (e undecidedError) Unwrap() error { return e.error }

// isEventError reports whether a request causes the failure, for example by a character
// that the database cannot store or a reference whose event was deleted.
func isEventError(err error) bool {
	if isServerError(err) {
		return false
	}
	code := codeOf(err)
	return errors.As(err, new(panics.Error)) || errors.As(err, new(undecidedError)) ||
		strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "54")
}

// isServerError reports whether nothing was stored and another connection may lead to a
// server that works.
func isServerError(err error) bool {
	return codeOf(err) == codeReadOnly || errors.As(err, new(sessionEndedError))
}

// pause waits before the next try, longer each time and for a random time, so that
// processes do not collide again. It reports false if ctx ends first.
func pause(ctx context.Context, n int) bool {
	select {
	case <-time.After(rand.N(time.Millisecond << min(n, 6))): //nolint:gosec // not a secret
		return true
	case <-ctx.Done():
		return false
	}
}

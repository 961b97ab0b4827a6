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

// See appendix A of the PostgreSQL documentation.
const (
	codeUniqueViolation       = "23505"
	codeSerializationFailure  = "40001"
	codeDeadlock              = "40P01"
	codeReadOnly              = "25006"
	codeQueryCanceled         = "57014"
	codeLockNotAvailable      = "55P03"
	codeCompletionUnknown     = "40003"
	codeNotSupported          = "0A000" // also an outdated plan
	codeInsufficientPrivilege = "42501"
)

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isRolledBack reports whether the server rejected a statement and rolls back.
//
// Some codes leave the outcome open: a connection lost by a proxy (08), CockroachDB's ambiguous
// result (40003), system and internal errors in a commit (58, XX).
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

// CockroachDB before 22 sends no SeverityUnlocalized.
func severity(e *pgconn.PgError) string {
	if e.SeverityUnlocalized != "" {
		return e.SeverityUnlocalized
	}
	return e.Severity
}

// isSessionEnded reports whether nothing was stored, because nothing was sent or the server
// ended the session before the commit.
func isSessionEnded(err error, inCommit bool) bool {
	if errors.As(err, new(pgx.ErrPreprocessingBatch)) || pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed) {
		return true
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) || severity(e) != "FATAL" {
		return false
	}
	switch e.Code {
	case "25P03", "57P05": // timeouts between statements
		return true
	case "25P04", "57P01", "57P02", "57P03":
		return !inCommit && e.Routine != "" // unlike a proxy's
	}
	return false
}

func isUniqueViolation(err error) bool { return codeOf(err) == codeUniqueViolation }

func isTransient(err error) bool {
	code := codeOf(err)
	return code == codeSerializationFailure || code == codeDeadlock
}

func isUnknown(err error) bool { return errors.Is(err, chargeingest.ErrOutcomeUnknown) }

// sessionEndedError means that nothing was stored.
type sessionEndedError struct{ error }

func (e sessionEndedError) Unwrap() error { return e.error }

// decisionError means that a request could not be decided.
type decisionError struct{ error }

func (e decisionError) Unwrap() error { return e.error }

// isEventError reports whether an event caused the error, such as an invalid character.
func isEventError(err error) bool {
	if mayReconnect(err) {
		return false
	}
	code := codeOf(err)
	return errors.As(err, new(panics.Error)) || errors.As(err, new(decisionError)) ||
		strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "54")
}

// mayReconnect reports whether nothing was stored and another connection may help.
func mayReconnect(err error) bool {
	return codeOf(err) == codeReadOnly || errors.As(err, new(sessionEndedError))
}

// pause waits for a random time, and returns false if ctx ends first.
func pause(ctx context.Context, n int) bool {
	select {
	case <-time.After(rand.N(time.Millisecond << min(n, 6))): //nolint:gosec // no secret
		return true
	case <-ctx.Done():
		return false
	}
}

package pgstore

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/chargeingest/internal/panics"
)

// errReadOnly says that the server takes no writes.
var errReadOnly = errors.New("the server is read-only")

// Codes of the server (PostgreSQL documentation, appendix A).
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

// codeOf is the code of an error of the server, empty where it is another one.
func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isUndone says that the server refused a statement and goes on: the transaction
// is undone. After anything else the connection is of no use, and whether a
// commit that was sent has happened is not known.
//
// Not so where the code itself says that it is not known: a connection behind a
// proxy or between the nodes of a cluster (08), CockroachDB's ambiguous result
// (40003), and in a commit whatever is broken (58, XX).
func isUndone(err error, inCommit bool) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || severity(e) != "ERROR" || strings.HasPrefix(e.Code, "57P") {
		return false
	}
	if e.Code == codeCompletionUnknown || strings.HasPrefix(e.Code, "08") {
		return false
	}
	return !inCommit || !strings.HasPrefix(e.Code, "58") && !strings.HasPrefix(e.Code, "XX")
}

// severity is that of an error, also where the server sends none that is not
// translated, as CockroachDB does before 22.
func severity(e *pgconn.PgError) string {
	if e.SeverityUnlocalized != "" {
		return e.SeverityUnlocalized
	}
	return e.Severity
}

// isGone says that nothing was stored although the connection is lost: nothing
// was sent, or the server itself ended the session, and said so in the place of
// the answer to a statement before the commit. Answers come in the order of the
// statements, so that the commit was not executed.
func isGone(err error, inCommit bool) bool {
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
		return !inCommit && e.Routine != "" // a proxy names none
	}
	return false
}

// isDuplicate says that something was inserted that is there already.
func isDuplicate(err error) bool { return codeOf(err) == codeUniqueViolation }

// isTransient says that the transaction was undone for the sake of another one.
func isTransient(err error) bool {
	code := codeOf(err)
	return code == codeSerializationFailure || code == codeDeadlock
}

// goneError says that the connection is lost, and nothing was stored.
type goneError struct{ error }

func (e goneError) Unwrap() error { return e.error }

// undecidedError says that a request could not be decided, such as for content in
// the database that is no JSON any more.
type undecidedError struct{ error }

func (e undecidedError) Unwrap() error { return e.error }

// isOfAnEvent says that what was to be stored is to blame, such as a text with a
// character that the database cannot hold, or a reference that is there without
// its event.
func isOfAnEvent(err error) bool {
	if isOfTheServer(err) {
		return false
	}
	code := codeOf(err)
	return errors.As(err, new(panics.Error)) || errors.As(err, new(undecidedError)) ||
		strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "54")
}

// isOfTheServer says that nothing was stored, and that another connection may lead to
// a server that works.
func isOfTheServer(err error) bool {
	return codeOf(err) == codeReadOnly || errors.As(err, new(goneError))
}

package pgstore

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
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
func isUndone(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.SeverityUnlocalized == "ERROR" && !strings.HasPrefix(e.Code, "57P")
}

// isDuplicate says that something was inserted that is there already.
func isDuplicate(err error) bool { return codeOf(err) == codeUniqueViolation }

// isTransient says that the transaction was undone for the sake of another one.
func isTransient(err error) bool {
	code := codeOf(err)
	return code == codeSerializationFailure || code == codeDeadlock || isDuplicate(err)
}

// isOfAnEvent says that what was to be stored is to blame, such as a platform
// whose name has a character that the database cannot hold.
func isOfAnEvent(err error) bool {
	code := codeOf(err)
	return errors.As(err, new(panicError)) ||
		strings.HasPrefix(code, "22") || strings.HasPrefix(code, "54") || strings.HasPrefix(code, "23") && !isDuplicate(err)
}

// isOfTheServer says that another connection may lead to a server that works.
func isOfTheServer(err error) bool {
	return codeOf(err) == codeReadOnly || errors.Is(err, errReadOnly) || isUnknown(err)
}

package pgstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestErrorClasses(t *testing.T) {
	of := func(severity, unlocalized, code, routine string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: severity, SeverityUnlocalized: unlocalized, Code: code, Routine: routine})
	}
	for _, c := range []struct {
		name                           string
		err                            error
		rolledBack, rolledBackInCommit bool
		ended, endedInCommit           bool
	}{
		{"a rejected row", of("ERROR", "ERROR", "23505", ""), true, true, false, false},
		{"a severity in another language", of("FEHLER", "ERROR", "23505", ""), true, true, false, false},
		{"only a translated severity", of("ERROR", "", "23505", ""), true, true, false, false},
		{"an unknown commit", of("ERROR", "ERROR", "40003", ""), false, false, false, false},
		{"a proxy that lost its server", of("ERROR", "ERROR", "08006", ""), false, false, false, false},
		{"a broken disk", of("ERROR", "ERROR", "58030", ""), true, false, false, false},
		{"a broken server", of("ERROR", "ERROR", "XX000", ""), true, false, false, false},
		{"a shutdown", of("FATAL", "FATAL", "57P01", "ProcessInterrupts"), false, false, true, false},
		{"a proxy's shutdown", of("FATAL", "FATAL", "57P01", ""), false, false, false, false},
		{"an idle transaction", of("FATAL", "FATAL", "25P03", ""), false, false, true, true},
		{"a long transaction", of("FATAL", "FATAL", "25P04", "ProcessInterrupts"), false, false, true, false},
		{"a panic of the server", of("PANIC", "PANIC", "XX000", ""), false, false, false, false},
		{"no response", errors.New("unexpected EOF"), false, false, false, false},
	} {
		require.Equal(t, c.rolledBack, isRolledBack(c.err, false), c.name)
		require.Equal(t, c.rolledBackInCommit, isRolledBack(c.err, true), c.name)
		require.Equal(t, c.ended, isSessionEnded(c.err, false), c.name)
		require.Equal(t, c.endedInCommit, isSessionEnded(c.err, true), c.name)
	}
}

func TestErrorCodesOfTheCommit(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	appended(t, s, charges("acme", "a"))
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF length(NEW.reference) = 5 THEN RAISE EXCEPTION 'injected' USING ERRCODE = NEW.reference; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON `+schema+`.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
	for code, unknown := range map[string]bool{"40003": true, "08006": true, "58030": true, "XX000": true, "23514": false, "P0001": false} {
		_, err := s.Append(t.Context(), charges("acme", code))
		require.Error(t, err)
		require.Equal(t, unknown, errors.Is(err, chargeingest.ErrOutcomeUnknown), "%s: %v", code, err)
		require.Equal(t, unknown, !errors.Is(err, chargeingest.ErrNotStored), "%s: %v", code, err)
	}
}

func TestLostServerIsNotAnEventError(t *testing.T) {
	undecided := decisionError{errors.New("unexpected EOF")}
	require.True(t, isEventError(undecided))
	require.False(t, isEventError(sessionEndedError{undecided}))
	require.True(t, mayReconnect(sessionEndedError{undecided}))
}

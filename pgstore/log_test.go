package pgstore

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

type recorder struct {
	mu      sync.Mutex
	longest int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range bytes.Lines(p) {
		r.longest = max(r.longest, len(line))
	}
	return len(p), nil
}

func TestLogLineLength(t *testing.T) {
	for _, unit := range []string{"x", "\x00", "\xff", "\"", "<", "é", "\u2028", "😀", "\\", "\x7f", "\n"} {
		r := new(recorder)
		for _, handler := range []slog.Handler{slog.NewJSONHandler(r, nil), slog.NewTextHandler(r, nil)} {
			log(slog.New(handler), slog.LevelError, "pgstore: a transaction was not stored", errors.New(strings.Repeat(unit, 1<<20)))
		}
		require.Positive(t, r.longest, "%q", unit)
		require.LessOrEqual(t, r.longest, 16<<10, "%q", unit)
	}
	require.Equal(t, "short", shorten("short"))
}

func TestLongServerErrorInTheLog(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	r := new(recorder)
	s := newStore(t, pool, Options{Schema: schema, Logger: slog.New(slog.NewJSONHandler(r, nil))})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', repeat('"', 1000000); END $$;
CREATE TRIGGER fail BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
	_, err = s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.NoError(t, s.Close())
	require.Positive(t, r.longest)
	require.LessOrEqual(t, r.longest, 16<<10)
}

package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary the program itself, for the children that a
// program under test starts.
const asProgram = "CHARGEINGEST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// testProgram is the program, with what it writes.
type testProgram struct {
	*program
	out bytes.Buffer
	log watched
}

// newTestProgram returns a program to which every disk is a real one.
func newTestProgram(t *testing.T) *testProgram {
	executable, err := os.Executable()
	require.NoError(t, err)
	tp := &testProgram{}
	tp.program = &program{
		stdin: new(bytes.Buffer), stdout: &tp.out, stderr: &tp.log,
		executable: executable,
		// Under the race detector each child would wait a second before it ends.
		env:        []string{asProgram + "=1", "GORACE=atexit_sleep_ms=0"},
		fileSystem: func(string) (string, bool, error) { return "testfs", false, nil },
	}
	return tp
}

// workshop is one in a temporary folder.
func (tp *testProgram) workshop(t *testing.T) *workshop {
	w, err := tp.openWorkshop(options{dir: t.TempDir(), seed: 3, version: 4, time: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.close()) })
	return w
}

// watched is an output that calls a function at its first line.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	first func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text.Len() == 0 && w.first != nil {
		w.first()
	}
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// storedDatabase is a database of the raw loop's, and what it acknowledged.
func storedDatabase(t *testing.T, entries bool) (path string, acknowledged tally) {
	path = filepath.Join(t.TempDir(), "charges.db")
	r, err := openRaw(t.Context(), rawSpec{Database: path, Seed: 1, Stream: 1, Version: 4, Entries: entries, Time: 1})
	require.NoError(t, err)
	done, err := r.run(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.db.Close())
	require.Positive(t, done.Acknowledged.Events)
	return path, done.Acknowledged
}

// change runs statements on a database.
func change(t *testing.T, path string, statements ...string) {
	db, err := sql.Open("sqlite", fileURI(path, ""))
	require.NoError(t, err)
	for _, s := range statements {
		_, err = db.ExecContext(context.Background(), s)
		require.NoError(t, err, s)
	}
	require.NoError(t, db.Close())
}

// tallyOf counts references.
func tallyOf(references ...uuid.UUID) tally {
	var t tally
	for _, r := range references {
		t.add(r)
	}
	return t
}

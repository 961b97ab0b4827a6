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

const asProgram = "CHARGEINGEST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

type testProgram struct {
	*program
	out bytes.Buffer
	log watched
}

func newTestProgram(t *testing.T) *testProgram {
	executable, err := os.Executable()
	require.NoError(t, err)
	tp := &testProgram{}
	tp.program = &program{
		stdin: new(bytes.Buffer), stdout: &tp.out, stderr: &tp.log,
		executable: executable,
		env:        []string{asProgram + "=1", "GORACE=atexit_sleep_ms=0"}, // children end without delay
		fileSystem: func(string) (string, bool, error) { return "testfs", false, nil },
	}
	return tp
}

func (tp *testProgram) workshop(t *testing.T) *workshop {
	w, err := tp.openWorkshop(options{dir: t.TempDir(), seed: 3, time: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.close()) })
	return w
}

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

func storedDatabase(t *testing.T) (path string, acknowledged tally) {
	path = filepath.Join(t.TempDir(), "charges.db")
	w, err := newWriter(t.Context(), writerSpec{
		workload: workload{Seed: 1, Stream: 1, UUID: 4, Requests: 1},
		Backend:  backendInsertEvents, Database: path, Callers: 1, Batch: transactionEvents,
	})
	require.NoError(t, err)
	done, err := w.run(t.Context())
	require.NoError(t, err)
	w.close()
	require.EqualValues(t, transactionEvents, done.Acknowledged.Events)
	return path, done.Acknowledged
}

func change(t *testing.T, path string, statements ...string) {
	db, err := sql.Open("sqlite", fileURI(path, ""))
	require.NoError(t, err)
	for _, s := range statements {
		_, err = db.ExecContext(context.Background(), s)
		require.NoError(t, err, s)
	}
	require.NoError(t, db.Close())
}

func tallyOf(references ...uuid.UUID) tally {
	var t tally
	for _, r := range references {
		t.add(r)
	}
	return t
}

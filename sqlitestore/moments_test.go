package sqlitestore

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type fileMoment struct {
	path string
	step string
	cut  bool
	log  walContent

	whole, alone string

	wholeMark, aloneMark string
}

func dump(t *testing.T, path string) string {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "sqlite3", path, `SELECT 'event', seq, id, platform, content, '' FROM events
		UNION ALL SELECT 'request', id, platform, key, route, hex(digest) FROM requests
		UNION ALL SELECT 'bound', request, position, event, sent, '' FROM request_events
		UNION ALL SELECT 'platform', id, name, '', '', '' FROM platforms ORDER BY 1, 2, 3; PRAGMA integrity_check`).CombinedOutput()
	return string(out)
}

func markOf(t *testing.T, path string) string {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "sqlite3", path, "SELECT hex(mark) FROM identity").CombinedOutput()
	return string(out)
}

func recordMoments(t *testing.T, random *rand.Rand, length int) (moments []fileMoment) {
	t.Helper()
	setup := newSetup(t)
	setup.tuning.generationSize, setup.tuning.chunkEntries, setup.tuning.runsPerLevel = 100, 20, 2
	setup.tuning.checkpointFrames = []int64{20, 1000}[random.IntN(2)]
	execSQL(t, setup.path, fmt.Sprintf("PRAGMA page_size = %d", []int{512, 4096, 65536}[random.IntN(3)]),
		fmt.Sprintf("PRAGMA auto_vacuum = %d", random.IntN(3)), fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	path := s.file.path

	var step string
	var mu sync.Mutex
	cutIn := 0
	take := func(cut bool) {
		to := filepath.Join(t.TempDir(), "charges.db")
		for _, suffix := range []string{"", "-wal", ".state"} {
			if _, err := os.Stat(path + suffix); err == nil {
				cp(t, path+suffix, to+suffix)
			}
		}
		moments = append(moments, fileMoment{path: to, step: step, cut: cut})
	}
	disks.Store(path, disk(func(operation) int32 {
		mu.Lock()
		defer mu.Unlock()
		if cutIn--; cutIn == 0 {
			take(true)
		}
		return 0
	}))
	defer disks.Delete(path)

	var stored []string
	reference := func() string {
		stored = append(stored, fmt.Sprint("ref-", len(stored)))
		return stored[len(stored)-1]
	}
	other := func(statement string) func() { return func() { sqlite3Shell(t, path, statement) } }
	var reader *sql.DB
	endReader := func() {
		if reader != nil {
			require.NoError(t, reader.Close())
			reader = nil
		}
	}
	defer func() { endReader() }()
	steps := map[string]func(){
		"events": func() {
			for range 1 + random.IntN(3) {
				var list []string
				for range 1 + random.IntN(1<<random.IntN(7)) {
					list = append(list, reference())
				}
				fresh(t, s, charges("acme", list...))
			}
		},
		"a key": func() {
			if len(stored) == 0 {
				reference()
			}
			b := charges("acme", stored[random.IntN(len(stored))])
			b.IdempotencyKey = step
			appended(t, s, b)
		},
		"Prune": func() {
			_, err := s.Prune(t.Context(), received().Add(time.Hour))
			require.NoError(t, err)
		},
		"a checkpoint": func() { checkpointAll(t, s) },
		"a failure": func() {
			setup.faults.once("COMMIT", func() error { return errIO })
			_, err := s.Append(t.Context(), charges("acme", reference()))
			require.Error(t, err)
			setup.faults.clear()
		},
		"a reader": func() {
			reader, err = sql.Open("sqlite", path)
			require.NoError(t, err)
			reader.SetMaxOpenConns(1)
			_, err = reader.Exec("BEGIN; SELECT count(*) FROM events")
			require.NoError(t, err)
		},
		"another opening": func() {
			require.NoError(t, s.Close())
			s, err = open(t.Context(), setup.path, setup.options, setup.tuning)
			require.NoError(t, err)
		},
		"wal_checkpoint":     other("PRAGMA wal_checkpoint"),
		"TRUNCATE":           other("PRAGMA wal_checkpoint(TRUNCATE)"),
		"CREATE INDEX":       other("CREATE INDEX IF NOT EXISTS mine ON events (timestamp_s)"),
		"DROP INDEX":         other("DROP INDEX IF EXISTS mine"),
		"VACUUM":             other("VACUUM"),
		"auto_vacuum":        other("PRAGMA auto_vacuum = 1; VACUUM"),
		"incremental_vacuum": other("PRAGMA incremental_vacuum"),
		"ANALYZE":            other("ANALYZE"),
	}
	names := slices.Sorted(maps.Keys(steps))
	for n := range length {
		name := names[random.IntN(len(names))]
		switch random.IntN(4) {
		case 0:
			name = "events"
		case 1:
			name = "a checkpoint"
		}
		if name == "a reader" || name == "a failure" || name == "another opening" || name == "TRUNCATE" {
			endReader()
		}
		step = fmt.Sprint(n, " ", name)
		mu.Lock()
		cutIn = random.IntN(1 << random.IntN(7))
		mu.Unlock()
		steps[name]()
		mu.Lock()
		cutIn = 0
		mu.Unlock()
		require.NoError(t, s.Ready(t.Context()), step)
		if random.IntN(3) == 0 {
			take(false)
		}
	}
	return moments
}

// They may be accepted only if the result is the content of the WAL's moment.
func TestFilesOfRandomMoments(t *testing.T) {
	t.Parallel()
	first := seed(t)
	length := 12
	if *roundsFlag > 0 {
		length = 40
	}
	for n := range rounds(1) {
		random := rand.New(rand.NewPCG(first+uint64(n), 3))
		moments := recordMoments(t, random, length)
		for i := range moments {
			m := &moments[i]
			var err error
			m.log, err = (&file{path: m.path}).readWAL()
			require.NoError(t, err)
			alone, whole := combine(t, *m, fileMoment{}, ""), combine(t, *m, *m, "")
			m.alone, m.whole = dump(t, alone), dump(t, whole)
			m.aloneMark, m.wholeMark = markOf(t, alone), markOf(t, whole)
		}
		for _, m := range moments {
			out := filepath.Join(t.TempDir(), "backup.db")
			_, err := Backup(t.Context(), combine(t, m, m, m.path), out)
			require.NoError(t, err, m.step)
			require.Equal(t, m.whole, dump(t, out), m.step)
		}
		for later, data := range moments {
			for earlier, log := range moments {
				same := data.path == log.path
				// Exceptions: a file copied during a checkpoint is damaged, a WAL without the
				// store's transactions has no mark, and one from before other programs'
				// changes has that of the file.
				othersOnly := earlier < later && log.wholeMark == data.aloneMark
				if !same && (data.cut || len(log.log.marks) == 0 || othersOnly || random.IntN(4) > 0) {
					continue
				}
				state := []string{"", data.path, log.path}[random.IntN(3)]
				what := fmt.Sprintf("file of step %s, log of step %s, state %s", data.step, log.step, strings.TrimPrefix(state, data.path))
				opened := newSetup(t)
				opened.path = combine(t, data, log, state)
				s, err := open(t.Context(), opened.path, opened.options, opened.tuning)
				if err != nil {
					require.False(t, same, "%s: %v", what, err)
					continue
				}
				require.NoError(t, s.Close())
				want := log.whole
				if log.log.frames == 0 {
					want = data.alone
				}
				require.Equal(t, want, dump(t, opened.path), what)
			}
		}
	}
}

func combine(t *testing.T, data, log fileMoment, state string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "charges.db")
	for from, suffix := range map[string]string{data.path: "", log.path + "-wal": "-wal", state + ".state": ".state"} {
		if _, err := os.Stat(from); err == nil {
			copyFile(t, from, path+suffix)
		}
	}
	return path
}

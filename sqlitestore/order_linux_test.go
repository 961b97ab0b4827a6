package sqlitestore

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// traced makes servers run under strace, and returns the file that it writes.
func traced(t *testing.T, l *lives) (trace string) {
	t.Helper()
	trace = filepath.Join(t.TempDir(), "trace")
	strace := []string{"strace", "-f", "-qq", "-y", "-s", "16", "-e", "trace=pwrite64,fsync,fdatasync,write", "-o", trace}
	if out, err := exec.CommandContext(t.Context(), strace[0], append(strace[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	l.launch = func(t *testing.T, k kill) (*life, error) {
		return launchProcess(t, childSpec{Path: l.path, Kill: k}, strace...)
	}
	return trace
}

// calls are what a trace tells of, in order: "write log", "sync database",
// "sync folder", "answer 201" and such. A write is where it begins, a sync is
// where it ends.
func calls(t *testing.T, trace string) []string {
	t.Helper()
	file, err := os.Open(trace)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	call := regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*)>(?:, "HTTP/1\.1 (\d+))?`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>.* = 0$`)
	var all []string
	pending := make(map[string]string) // syncs that have begun, by thread
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if m := resumed.FindStringSubmatch(line); m != nil {
			all = append(all, pending[m[1]])
			continue
		}
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		kind := "database"
		switch path := m[3]; {
		case m[4] != "":
			all = append(all, "answer "+m[4])
			continue
		case strings.HasSuffix(path, "-wal"):
			kind = "log"
		case strings.HasSuffix(path, "-journal"):
			kind = "journal"
		case !strings.HasSuffix(path, ".db"):
			kind = "folder"
		}
		switch {
		case m[2] == "pwrite64":
			all = append(all, "write "+kind)
		case !strings.Contains(m[2], "sync"):
		case strings.HasSuffix(line, " = 0"):
			all = append(all, "sync "+kind)
		default:
			pending[m[1]] = "sync " + kind
		}
	}
	return all
}

// TestAnAnswerComesBehindTheSyncOfItsEvents looks at what a server does: between
// the last write of a commit and its 201 lies a sync of the log.
func TestAnAnswerComesBehindTheSyncOfItsEvents(t *testing.T) {
	t.Parallel()
	l := newProcesses(seed(t), filepath.Join(t.TempDir(), "charges.db"))
	trace := traced(t, l)
	l.clients = l.clients[:1] // one request at a time
	l.start(t, kill{})
	l.traffic(t, 60, func() {})
	require.NoError(t, l.stop())

	var written, synced bool // since the last answer
	stored := 0
	for _, c := range calls(t, trace) {
		switch c {
		case "write log":
			written, synced = true, false
		case "sync log":
			synced = true
		case "answer 201":
			if written {
				require.True(t, synced, "answer %d", stored)
				stored++
			}
			written = false
		}
	}
	require.Greater(t, stored, 30)
}

// TestAReplayAfterACrashComesBehindTheSyncOfWhatItRepeats kills a server before
// the sync of a commit, and looks at what the next one does before it answers.
func TestAReplayAfterACrashComesBehindTheSyncOfWhatItRepeats(t *testing.T) {
	t.Parallel()
	var trace string
	first := seed(t)
	for n := uint64(0); trace == ""; n++ {
		require.Less(t, n, uint64(50), "nothing is answered as a replay")
		l := newProcesses(first+n, filepath.Join(t.TempDir(), "charges.db"))
		l.clients = l.clients[:1]
		l.start(t, kill{What: "sync", File: "log", Nth: 10, Serving: true})
		l.traffic(t, 1000, func() {})
		before := l.history.Count("replayed")
		traceOf := traced(t, l)
		l.resolve(t, kill{})
		require.NoError(t, l.stop())
		if l.history.Count("replayed") > before { // else the last request was one that is not to be repeated
			trace = traceOf
		}
	}

	all := calls(t, trace)
	require.Contains(t, all, "answer 201")
	var before []string
	for _, c := range all {
		if c == "answer 201" {
			break
		}
		if strings.HasPrefix(c, "sync ") {
			before = append(before, c)
		}
	}
	require.Subset(t, before, []string{"sync log", "sync database"})
}

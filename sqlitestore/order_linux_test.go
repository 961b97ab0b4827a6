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

func traceServers(t *testing.T, l *servers) (trace string) {
	t.Helper()
	trace = filepath.Join(t.TempDir(), "trace")
	strace := []string{"strace", "-f", "-qq", "-y", "-s", "16", "-e", "trace=pwrite64,fsync,fdatasync,write", "-o", trace}
	if out, err := exec.CommandContext(t.Context(), strace[0], append(strace[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v: %s", err, out)
	}
	l.launch = func(t *testing.T, k kill) (*server, error) {
		return launchProcess(t, childSpec{Path: l.path, Kill: k}, strace...)
	}
	return trace
}

// A write counts from its start, a sync from its end.
func tracedCalls(t *testing.T, trace string) []string {
	t.Helper()
	file, err := os.Open(trace)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	call := regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*)>(?:, "HTTP/1\.1 (\d+))?`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>.* = 0$`)
	var all []string
	pending := make(map[string]string)
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
			all = append(all, "response "+m[4])
			continue
		case strings.HasSuffix(path, "-wal"):
			kind = "wal"
		case strings.HasSuffix(path, "-journal"):
			kind = "journal"
		case !strings.HasSuffix(path, ".db"):
			kind = "directory"
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

func TestResponseFollowsSync(t *testing.T) {
	t.Parallel()
	l := newProcesses(t, seed(t), filepath.Join(t.TempDir(), "charges.db"))
	trace := traceServers(t, l)
	l.clients = l.clients[:1]
	l.start(t, kill{})
	l.traffic(t, 60, func() {})
	require.NoError(t, l.stop())

	var written, synced bool
	stored := 0
	for _, c := range tracedCalls(t, trace) {
		switch c {
		case "write wal":
			written, synced = true, false
		case "sync wal":
			synced = true
		case "response 201":
			if written {
				require.True(t, synced, "response %d", stored)
				stored++
			}
			written = false
		}
	}
	require.Greater(t, stored, 30)
}

func TestReplayAfterCrashFollowsSync(t *testing.T) {
	t.Parallel()
	var trace string
	first := seed(t)
	for n := uint64(0); trace == ""; n++ {
		require.Less(t, n, uint64(50), "nothing is returned as a replay")
		l := newProcesses(t, first+n, filepath.Join(t.TempDir(), "charges.db"))
		l.clients = l.clients[:1]
		l.start(t, kill{Kind: "sync", File: "wal", Nth: 10, Serving: true})
		l.traffic(t, 1000, func() {})
		before := l.history.Count("replayed")
		traceOf := traceServers(t, l)
		l.resolve(t, kill{})
		require.NoError(t, l.stop())
		if l.history.Count("replayed") > before {
			trace = traceOf
		}
	}

	all := tracedCalls(t, trace)
	require.Contains(t, all, "response 201")
	var before []string
	for _, c := range all {
		if c == "response 201" {
			break
		}
		if strings.HasPrefix(c, "sync ") {
			before = append(before, c)
		}
	}
	require.Subset(t, before, []string{"sync wal", "sync database"})
}

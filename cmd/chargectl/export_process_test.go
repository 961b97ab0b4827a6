package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func runProcess(t *testing.T, args ...string) (out, log string) {
	t.Helper()
	cmd := asProcess(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), &stderr)
	return stdout.String(), stderr.String()
}

func TestExportKilledAndRunAgain(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(maxPageEvents+500)...)
	reached := make(chan struct{})
	proxy := proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if n == 2 {
			close(reached)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	})
	path := filepath.Join(t.TempDir(), "charges.csv")
	killed := asProcess(t, "export", "-url", proxy, "-api-key", apiKey, "-o", path)
	require.NoError(t, killed.Start())
	ended := make(chan error, 1)
	go func() { ended <- killed.Wait() }()
	select {
	case <-reached:
	case err := <-ended:
		require.FailNow(t, "the export ended early", err)
	}
	require.NoError(t, killed.Process.Kill())
	require.Error(t, <-ended)
	drafts := dirNames(t, filepath.Dir(path))
	require.Len(t, drafts, 1)
	require.Regexp(t, `^\.charges\.csv-\d+$`, drafts[0])

	want, _ := export(t, s.url)
	out, _ := runProcess(t, "export", "-url", s.url, "-api-key", apiKey, "-o", path)
	require.Empty(t, out)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(text))
	require.ElementsMatch(t, append(drafts, "charges.csv"), dirNames(t, filepath.Dir(path)))
}

func TestExportWhileServerIsKilled(t *testing.T) {
	s := startRealServer(t, filepath.Join(t.TempDir(), "charges.db"))
	file := writeEvents(t, eventLines(2*maxPageEvents+500)...)
	runProcess(t, "load", file, "-url", s.url, "-api-key", apiKey)
	want, wantLog := runProcess(t, "export", "-url", s.url, "-api-key", apiKey)
	proxy := proxyTo(t, &testServer{url: s.url}, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if n == 2 {
			s.killAndRestart(t)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"data":[`))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	})
	out, log := runProcess(t, "export", "-url", proxy, "-api-key", apiKey)
	require.Equal(t, want, out)
	require.Equal(t, strings.Count(wantLog, "\n")+1, strings.Count(log, "\n"), log)
	require.Contains(t, log, "retrying")
	require.Contains(t, log, sha256Of(want)+"  -\n")

	out, _ = runProcess(t, "verify", file, "-url", s.url, "-api-key", apiKey)
	require.Contains(t, out, counted(2500, 2500, 0, 0, 0)+"\n")
}

func TestExportChecksum(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 3)
	for _, name := range []string{"charges.csv", `a \ b.csv`} {
		path := filepath.Join(t.TempDir(), name)
		_, log := runProcess(t, "export", "-url", s.url, "-api-key", apiKey, "-o", path)
		check := exec.CommandContext(t.Context(), "sha256sum", "-c")
		check.Stdin = strings.NewReader(log)
		out, err := check.Output()
		if os.Getenv("CI") == "" && check.Process == nil {
			t.Skipf("no sha256sum: %v", err)
		}
		require.NoError(t, err)
		require.Contains(t, string(out), "OK")
	}
}

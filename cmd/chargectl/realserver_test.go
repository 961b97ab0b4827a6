package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

var serverDir string // empty until buildServer

func removeServer() {
	if serverDir != "" {
		_ = os.RemoveAll(serverDir)
	}
}

var buildServer = sync.OnceValues(func() (binary string, err error) {
	if serverDir, err = os.MkdirTemp("", "chargectl-test-"); err != nil {
		return "", err
	}
	binary = filepath.Join(serverDir, "server")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("..", "..", "example")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &os.PathError{Op: "go build: " + string(out), Path: cmd.Dir, Err: err}
	}
	return binary, nil
})

type realServer struct {
	cmd     *exec.Cmd
	url, db string
	log     *bytes.Buffer
}

func startRealServer(t *testing.T, db string, args ...string) *realServer {
	t.Helper()
	s := newRealServer(t, db, args...)
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(s.kill)
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	require.NoError(t, err, s.log)
	s.url = strings.TrimPrefix(strings.TrimSpace(line), "listening on ")
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return s
}

func newRealServer(t *testing.T, db string, args ...string) *realServer {
	t.Helper()
	if len(args) == 0 {
		args = []string{"-api-key", apiKey}
	}
	s := &realServer{db: db, log: new(bytes.Buffer)}
	binary, err := buildServer()
	require.NoError(t, err)
	s.cmd = exec.CommandContext(t.Context(), binary, append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	s.cmd.Stderr = s.log
	return s
}

func (s *realServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// killAndRestart keeps the address.
func (s *realServer) killAndRestart(t *testing.T) {
	t.Helper()
	s.kill()
	*s = *startRealServer(t, s.db, "-api-key", apiKey, "-addr", strings.TrimPrefix(s.url, "http://"))
}

func (s *realServer) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.cmd.Wait(), s.log)
}

func (s *realServer) request(t *testing.T, method, path, key, body string) (status int, text []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-API-KEY", key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, text
}

const batchEvents = 5

func (s *realServer) storeBatches(t *testing.T, first, last int) {
	t.Helper()
	for batch := first; batch <= last; batch++ {
		var events []string
		for n := 1; n <= batchEvents; n++ {
			events = append(events, fmt.Sprintf(`{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p",`+
				`"pricing_item_config_id":"p","reference":"%d-%d","description":"%s"}`, batch, n, strings.Repeat("x", 250)))
		}
		status, body := s.request(t, http.MethodPost, "/v1/ingest/charge-datas", apiKey, `{"charge_datas":[`+strings.Join(events, ",")+`]}`)
		require.Equal(t, http.StatusCreated, status, "%s", body)
	}
}

func (s *realServer) batches(t *testing.T) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for _, text := range s.events(t) {
		var e struct {
			Reference string `json:"reference"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &e))
		batch, _, _ := strings.Cut(e.Reference, "-")
		found[batch]++
	}
	return found
}

func (s *realServer) events(t *testing.T) []string {
	t.Helper()
	out := requireTool(t, "tail", "-follow=false", "-url", s.url, "-api-key", apiKey)
	return slices.Collect(strings.Lines(out))
}

func batchesOf(t *testing.T, db string) map[string]int {
	t.Helper()
	s := startRealServer(t, db)
	defer s.stop(t)
	return s.batches(t)
}

func wholeBatches(n int) map[string]int {
	all := make(map[string]int)
	for batch := 1; batch <= n; batch++ {
		all[fmt.Sprint(batch)] = batchEvents
	}
	return all
}

func runTool(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	tp := newTestProgram()
	status = tp.run(t.Context(), args)
	return status, tp.out.String(), tp.log.String()
}

func requireTool(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	status, stdout, stderr := runTool(t, args...)
	require.Equal(t, 0, status, stderr)
	return stdout
}

func databaseFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	return filesWith(t, dir, true)
}

func filesWith(t *testing.T, dir string, withState bool) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), "-shm") || !withState && strings.HasSuffix(e.Name(), ".state") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = fmt.Sprintf("%d bytes, %x", len(text), sha256.Sum256(text))
	}
	return files
}

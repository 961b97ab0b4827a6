package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/memstore"
)

func TestMetrics(t *testing.T) {
	s := startServer(t, "-db", filepath.Join(t.TempDir(), "charges.db"))
	for _, n := range []int{1, 1, 2, 3} {
		status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(n))
		require.Equal(t, http.StatusCreated, status)
	}
	status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", "{}")
	require.Equal(t, http.StatusBadRequest, status)

	status, text := s.send(t, http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusOK, status)
	for _, line := range []string{
		`chargeingest_requests_total{code="201",error="",route="charge-data"} 4`,
		`chargeingest_requests_total{code="400",error="MISSING_FIELD",route="charge-data"} 1`,
		`chargeingest_events_accepted_total 3`,
		`chargeingest_events_replayed_total 1`,
		`chargeingest_commit_events_sum 3`,
		`chargeingest_store_queued_events 0`,
	} {
		require.Contains(t, text, "\n"+line+"\n")
	}
	for _, name := range []string{"chargeingest_store_wal_bytes", "chargeingest_store_last_checkpoint_timestamp_seconds", "go_goroutines", "process_open_fds"} {
		require.Contains(t, text, "\n"+name+" ")
	}
	status, _ = s.send(t, http.MethodPost, "/metrics", "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
}

func TestMemoryStoreHasNoMetrics(t *testing.T) {
	_, text := startServer(t).send(t, http.MethodGet, "/metrics", "")
	require.Contains(t, text, "chargeingest_commits_total")
	require.NotContains(t, text, "chargeingest_store_")
}

type slowStats struct {
	store
	release chan struct{}
}

func (s *slowStats) Stats() chargeingest.StoreStats {
	<-s.release
	return chargeingest.StoreStats{}
}

func TestMetricsConcurrencyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics()
		require.NoError(t, err)
		s := &slowStats{memstore.New(), make(chan struct{})}
		require.NoError(t, m.registerStore(s))
		statuses := make(chan int, 6)
		for range 6 {
			go func() {
				w := httptest.NewRecorder()
				m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				statuses <- w.Code
			}()
		}
		synctest.Wait()
		rejected := len(statuses)
		close(s.release)
		synctest.Wait()
		require.Equal(t, 2, rejected)
		for i := range 6 {
			want := http.StatusOK
			if i < rejected {
				want = http.StatusServiceUnavailable
			}
			require.Equal(t, want, <-statuses)
		}
	})
}

func TestMetricsAddr(t *testing.T) {
	tp := newTestProgram()
	s := tp.start(t, "-metrics-addr", "127.0.0.1:0")
	require.True(t, tp.log.waitFor(`msg="listening for /metrics"`, s.done))
	_, rest, _ := strings.Cut(tp.log.String(), "listening for /metrics")
	_, addr, _ := strings.Cut(strings.Fields(rest)[1], "addr=")

	res, err := http.Get("http://" + addr + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, string(text), "chargeingest_commits_total")

	for _, path := range []string{"/livez", "/v1/ingest/charge-data"} {
		res, err := http.Get("http://" + addr + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusNotFound, res.StatusCode, path)
	}
	status, _ := s.send(t, http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestMetricsAddrInUseLeavesNoDatabase(t *testing.T) {
	first := startServer(t)
	db := filepath.Join(t.TempDir(), "charges.db")
	tp := newTestProgram()
	status := tp.run(t.Context(), []string{"-addr", "127.0.0.1:0", "-db", db, "-metrics-addr", strings.TrimPrefix(first.url, "http://")})
	require.Equal(t, cli.StatusFailure, status)
	require.Contains(t, tp.log.String(), "address already in use")
	require.NoFileExists(t, db)
}

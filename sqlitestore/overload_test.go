package sqlitestore

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func endpoint(t *testing.T, s *Store) *httptest.Server {
	t.Helper()
	h, err := crashtest.NewHandler(s, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func eventBody(reference string) string {
	return fmt.Sprintf(`{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":%q}`, reference)
}

func post(t *testing.T, srv *httptest.Server, platform, path, body string) (status int, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-Api-Key", crashtest.Secret)
	req.Header.Set("X-Platform-Id", platform)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode, res.Header
}

const single = "/v1/ingest/charge-data"

func TestOverload(t *testing.T) {
	setup := newSetup(t)
	setup.options.MaxQueuedEvents = 20
	s := setup.open(t)
	srv := endpoint(t, s)
	release := hold(s)
	statuses := make(chan int)
	send := func(platform, reference string) {
		status, _ := post(t, srv, platform, single, eventBody(reference))
		statuses <- status
	}
	for i := range 20 {
		go send("acme", fmt.Sprint(i))
	}
	full := func() bool {
		events := s.writer.queue.Stats().QueuedEvents
		return events == 20
	}
	for !full() {
		runtime.Gosched()
	}
	status, header := post(t, srv, "acme", single, eventBody("beyond"))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotEmpty(t, header.Get("Retry-After"))
	require.Equal(t, "true", header.Get("Idempotency-Retryable"))
	go send("globex", "modest")
	require.Equal(t, http.StatusServiceUnavailable, <-statuses, "the newest request of the flood makes room")
	release()
	for range 20 {
		require.Equal(t, http.StatusCreated, <-statuses)
	}
	status, _ = post(t, srv, "acme", single, eventBody("beyond"))
	require.Equal(t, http.StatusCreated, status)
	require.Len(t, listed(t, s, "globex"), 1)
}

func TestClosedClientConnections(t *testing.T) {
	s := newSetup(t).open(t)
	srv := endpoint(t, s)
	const batches, size = 200, 3
	batch := func(i int) string {
		var events []string
		for j := range size {
			events = append(events, eventBody(fmt.Sprintf("%d-%d", i, j)))
		}
		return `{"charge_datas":[` + strings.Join(events, ",") + `]}`
	}
	var sending sync.WaitGroup
	for i := range batches {
		sending.Go(func() {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			body := batch(i)
			if i%4 == 0 {
				body = body[:len(body)-1-i%len(body)/2]
			}
			_, err = fmt.Fprintf(conn, "POST /v1/ingest/charge-datas HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nX-Platform-Id: acme\r\n"+
				"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", crashtest.Secret, len(batch(i)), body)
			if err != nil {
				t.Error(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	srv.Close()
	stored := listed(t, s, "acme")
	require.Zero(t, len(stored)%size)
	require.LessOrEqual(t, len(stored), (batches-batches/4)*size, "truncated batches are not stored")
	again := endpoint(t, s)
	replayed := 0
	for i := range batches {
		status, header := post(t, again, "acme", "/v1/ingest/charge-datas", batch(i))
		require.Equal(t, http.StatusCreated, status)
		if header.Get("Idempotent-Replayed") == "true" {
			replayed++
		}
	}
	require.Equal(t, len(stored), replayed*size)
	require.Len(t, listed(t, s, "acme"), batches*size)
	t.Logf("%d of %d were stored", replayed, batches)
}

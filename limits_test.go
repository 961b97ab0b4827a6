package chargeingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// gated is a store whose Append waits to be let through.
type gated struct {
	*memstore.Store
	entered, free chan struct{}
}

func newGated() *gated {
	return &gated{memstore.New(), make(chan struct{}, 10), make(chan struct{})}
}

func (g *gated) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	g.entered <- struct{}{}
	select {
	case <-g.free:
		return g.Store.Append(ctx, b)
	case <-ctx.Done():
		return chargeingest.AppendResult{}, ctx.Err()
	}
}

func TestHalfClosedClient(t *testing.T) {
	store := newGated()
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: allowAll})
	require.NoError(t, err)
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		context.AfterFunc(r.Context(), func() { close(ended) })
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(observedEvent), observedEvent)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	<-store.entered
	<-ended // the request's context, while the event is being stored
	close(store.free)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusCreated, res.StatusCode)
}

func TestChunkedBodyReservation(t *testing.T) {
	store := newGated()
	h, err := chargeingest.New(chargeingest.Config{
		Store: store, Authorizer: allowAll, MaxBodyBytes: 1000, MaxInFlightBytes: 1500,
	})
	require.NoError(t, err)
	status := make(chan int, 2)
	for i := range 2 {
		go func() {
			body := strings.Replace(observedEvent, `"r"`, fmt.Sprintf(`"r%d"`, i), 1)
			r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", io.MultiReader(strings.NewReader(body)))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			status <- w.Code
		}()
		<-store.entered // and holds no more than its 100 bytes by now
	}
	close(store.free)
	require.Equal(t, http.StatusCreated, <-status)
	require.Equal(t, http.StatusCreated, <-status)
}

func TestPageBytes(t *testing.T) {
	store := memstore.New()
	const events = 30
	large := `,"blob":"` + strings.Repeat("x", 300<<10) + `"}`
	for i := range events {
		body := strings.Replace(observedEvent, `"r"`, fmt.Sprintf(`"r%d"`, i), 1)
		w := serveOne(t, chargeingest.Config{Store: store, KeepUnknownFields: true},
			http.MethodPost, "/v1/ingest/charge-data", strings.TrimSuffix(body, "}")+large)
		require.Equal(t, http.StatusCreated, w.Code)
	}
	seen, after := 0, ""
	for {
		w := serveOne(t, chargeingest.Config{Store: store}, http.MethodGet, "/v1/ingest/charge-data?order=asc&limit=1000"+after, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.Less(t, w.Body.Len(), 5<<20)
		var page struct {
			Data []json.RawMessage
			Next *string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
		require.NotEmpty(t, page.Data)
		seen += len(page.Data)
		if page.Next == nil {
			break
		}
		after = "&after=" + *page.Next
	}
	require.Equal(t, events, seen)
}

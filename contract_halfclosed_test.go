package chargeingest_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// Validation of a large body can end early with a 503.
func TestHalfClosedClientWithALargeBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		settings   []func(*chargeingest.Config)
		want       int
	}{
		{"accepted", event(`"x":[` + strings.Repeat("1,", 200_000) + "1]"), []func(*chargeingest.Config){keepUnknown}, http.StatusCreated},
		{"rejected", event(`"x":[` + strings.Repeat("1,", 200_000) + "1]"), nil, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := newFixture(t, c.settings...).serve(t)
			var statuses []int
			for range 5 {
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				require.NoError(t, err)
				require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
				_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
					eventPath, fullSecret, len(c.body), c.body)
				require.NoError(t, err)
				require.NoError(t, conn.(*net.TCPConn).CloseWrite())
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.NoError(t, conn.Close())
				statuses = append(statuses, res.StatusCode)
			}
			require.Contains(t, statuses, c.want, "%v", statuses)
		})
	}
}

func TestHalfClosedClient(t *testing.T) {
	store := newBlockingStore()
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
	<-ended
	close(store.free)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusCreated, res.StatusCode)
}

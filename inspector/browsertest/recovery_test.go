package browsertest

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/inspector"
)

func TestRestart(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(201, event("before-1", "cust_1"))
		h.ingest(201, event("before-2", "cust_1"))
		p := open(t, v, h.link(adaKey))
		p.rowCount(2)
		p.wait(live)
		p.expect(`ERR_CONNECTION_(REFUSED|RESET)|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED|ERR_SOCKET`)
		evaluate[bool](p, `(window.sameDocument = true)`)
		address := strings.TrimPrefix(h.base, "http://")
		h.shutdown()
		p.wait(`document.querySelector('#connection').dataset.state === 'disconnected'`)
		p.see(".row[data-id]", "before-2")
		p.accessible("disconnected")
		h.serve(address)
		p.wait(live)
		p.seeNot(".row[data-id]", "before-1")
		h.ingest(201, event("after-1", "cust_1"))
		p.away()
		p.see(".row[data-id]", "after-1")
		p.rowCount(1)
		require.True(t, evaluate[bool](p, `window.sameDocument`))
		p.press("2")
		p.see("#events-table tbody tr", "before-1")
	})
}

func TestStreamLimit(t *testing.T) {
	t.Parallel()
	h := startHost(t, func(c *inspector.Config) { c.MaxStreams = 1 })
	first := open(t, wide, h.link(adaKey))
	first.wait(live)
	second := open(t, narrow, h.link(adaKey))
	second.expect(`503`)
	second.wait(`document.querySelector('#connection').dataset.state === 'polling'`)
	second.accessible("polling")
	h.ingest(201, event("order-1", "cust_1"))
	first.see(".row[data-id]", "order-1")
	second.see(".row[data-id]", "order-1")
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	failing := true
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing && strings.HasPrefix(r.URL.Path, prefix+"api/") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"type":"API_ERROR","code":"INTERNAL_ERROR","message":"the key server is down"}`)
			failing = false
			return
		}
		h.server.Handler.ServeHTTP(w, r)
	}), ReadHeaderTimeout: timeout}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	p := open(t, wide, "http://"+listener.Addr().String()+prefix+"#key="+adaKey)
	p.expect(`503`)
	p.see("#list-empty", "")
}

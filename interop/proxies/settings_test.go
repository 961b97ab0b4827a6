//go:build proxies && linux

package proxies_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConnectionsToTheServer(t *testing.T) {
	const requests = 20
	for name, c := range map[string]struct {
		proxy proxy
		want  int
	}{
		"nginx":                              {nginx(), 1},
		"nginx without an empty Connection":  {nginx(`proxy_set_header Connection "";`, ""), requests},
		"nginx without proxy_http_version":   {nginx("proxy_http_version 1.1;", ""), requests},
		"nginx without keepalive":            {nginx("keepalive 32;", ""), requests},
		"nginx of one directive":             {plainNginx(""), requests},
		"haproxy":                            {haproxy(" check\n", "\n"), 1}, // each health check has a connection
		"haproxy that closes its connection": {haproxy(" check\n", "\n", "mode http", "mode http\n    option http-server-close"), requests},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRelay(t, startServer(t).address)
			address := c.proxy(t, r.address)
			client := newClient(t)
			for range requests {
				got, err := send(client, http.MethodPost, "http://"+address+eventPath, event("null"))
				require.NoError(t, err)
				require.Equal(t, http.StatusCreated, got.status)
			}
			connections, _ := r.seen()
			if c.want == 1 {
				require.LessOrEqual(t, connections, 2, "each worker of nginx has a connection")
			} else {
				require.Equal(t, c.want, connections)
			}
		})
	}
}

func TestBodySizes(t *testing.T) {
	const mib = 1 << 20
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, strings.Repeat(" ", 17*mib))
	_ = w.Close()
	for _, c := range []struct {
		name    string
		proxy   proxy
		body    string
		headers []string
		status  int
		ours    bool
	}{
		{"nginx, 3 MiB are read", nginx(), strings.Repeat(" ", 3*mib) + event("null"), nil, http.StatusCreated, true},
		{"nginx, 5 MiB are above the server's limit", nginx(), strings.Repeat(" ", 5*mib), nil, http.StatusRequestEntityTooLarge, true},
		{"nginx, 17 MiB are above nginx's limit", nginx(), strings.Repeat(" ", 17*mib), nil, http.StatusRequestEntityTooLarge, false},
		{"nginx, 17 MiB that gzip makes smaller", nginx(), packed.String(), []string{"Content-Encoding", "gzip"}, http.StatusRequestEntityTooLarge, true},
		{"nginx, 2 MiB are above its default limit", nginx("client_max_body_size 16m;", ""), strings.Repeat(" ", 2*mib), nil, http.StatusRequestEntityTooLarge, false},
		{"haproxy, 3 MiB are read", haproxy(), strings.Repeat(" ", 3*mib) + event("null"), nil, http.StatusCreated, true},
		{"haproxy, 5 MiB are above the server's limit", haproxy(), strings.Repeat(" ", 5*mib), nil, http.StatusRequestEntityTooLarge, true},
		{"haproxy has no limit", haproxy(), strings.Repeat(" ", 17*mib), nil, http.StatusRequestEntityTooLarge, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := post(t, c.proxy(t, startServer(t).address), c.body, c.headers...)
			require.Equal(t, c.status, got.status, got.body)
			if c.ours {
				require.Equal(t, "application/json", got.header.Get("Content-Type"))
				require.NotEmpty(t, got.header.Get("X-Request-Id"))
			} else {
				require.Equal(t, "text/html", got.header.Get("Content-Type"))
				require.Empty(t, got.header.Get("X-Request-Id"))
			}
		})
	}
}

func TestRequestBuffering(t *testing.T) {
	for name, c := range map[string]struct {
		proxy   proxy
		buffers bool
	}{
		"nginx":              {nginx(), false},
		"nginx that buffers": {nginx("proxy_request_buffering off;", ""), true},
		"haproxy":            {haproxy(), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRelay(t, startServer(t).address)
			conn, err := net.Dial("tcp", c.proxy(t, r.address))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
			const size = 300_000
			_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: charges.example\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n%s",
				eventPath, wrongKey, size, strings.Repeat(" ", size/2))
			require.NoError(t, err)
			if c.buffers {
				require.Equal(t, http.StatusOK, get(t, conn.RemoteAddr().String(), "/livez").status)
				_, requests := r.seen()
				require.Empty(t, requests)
				_, err = io.WriteString(conn, strings.Repeat(" ", size/2))
				require.NoError(t, err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		})
	}
}

func TestExpect(t *testing.T) {
	for name, c := range map[string]struct {
		proxy proxy
		first int
	}{
		"nginx":   {nginx(), http.StatusContinue}, // from nginx
		"haproxy": {haproxy(), http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", c.proxy(t, startServer(t).address))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
			_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: charges.example\r\nX-API-KEY: %s\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n", eventPath, wrongKey)
			require.NoError(t, err)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, c.first, res.StatusCode)
		})
	}
}

func get(t *testing.T, address, path string, headers ...string) response {
	t.Helper()
	r, err := send(newClient(t), http.MethodGet, "http://"+address+path, "", headers...)
	require.NoError(t, err)
	return r
}

func TestRequestIDs(t *testing.T) {
	for name, c := range map[string]struct {
		proxy proxy
		made  string
	}{
		"nginx":                  {nginx(), "^[0-9a-f]{32}$"},
		"haproxy":                {haproxy(), "^[0-9a-f]{8}-[0-9a-f-]{27}$"},
		"nginx of one directive": {plainNginx(""), "^reqr_"}, // from the server
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			address := c.proxy(t, s.address)
			for _, sent := range []string{"from-the-client", ""} {
				var headers []string
				want := "^" + sent + "$"
				if sent == "" {
					want = c.made
				} else {
					headers = []string{"X-Request-Id", sent}
				}
				got := get(t, address, eventPath+"/unknown", headers...)
				require.Equal(t, http.StatusNotFound, got.status)
				id := got.header.Get("X-Request-Id")
				require.Regexp(t, want, id)
				require.NotNil(t, s.log.find("request_id="+id+" ", s.ended), "the log of the server has it")
			}
		})
	}
}

func TestForwardedHeaders(t *testing.T) {
	for name, p := range map[string]proxy{"nginx": nginx(), "haproxy": haproxy()} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			r := startRelay(t, s.address)
			address := p(t, r.address)
			got := post(t, address, "{}", "X-Forwarded-For", "192.0.2.1", "Forwarded", "for=192.0.2.1", "X-Real-Ip", "192.0.2.1",
				"X-Forwarded-Host", "other.example", "X-Forwarded-Prefix", "/other", "X-Original-Url", "/other", "X-Http-Method-Override", "GET")
			require.Equal(t, http.StatusBadRequest, got.status)
			found := s.log.find("request_id="+got.header.Get("X-Request-Id")+` client=(\S+)`, s.ended)
			require.NotNil(t, found)
			require.Regexp(t, `^127\.0\.0\.1:`, found[1])

			_, requests := r.seen()
			all := strings.Join(requests[0].Header.Values("X-Forwarded-For"), ", ")
			require.Equal(t, "192.0.2.1, 127.0.0.1", all)
			if name == "nginx" {
				require.Equal(t, "127.0.0.1", requests[0].Host, "without a port")
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	for name, p := range map[string]proxy{
		"nginx":   nginx("proxy_read_timeout 95s;", "proxy_read_timeout 100ms;"),
		"haproxy": haproxy("timeout server 95s", "timeout server 100ms", " check\n", "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			r := startRelay(t, s.address)
			held := make(chan struct{})
			r.hold = held
			t.Cleanup(func() { close(held) })
			got := post(t, p(t, r.address), event(`"a"`))
			require.Equal(t, http.StatusGatewayTimeout, got.status)
			require.Len(t, events(t, s.address), 1)
			_, requests := r.seen()
			require.Len(t, requests, 1)
			require.Equal(t, "true", post(t, s.address, event(`"a"`)).header.Get("Idempotent-Replayed"))
		})
	}
}

//go:build proxies && linux

package proxies_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "charges") // short, unlike t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "charges.sock")
}

func TestUnixSocketBehindNginx(t *testing.T) {
	s := startServerAt(t, "unix:"+socketPath(t))
	address := nginxOverUnix(t, s.address)

	t.Run("rejections arrive", func(t *testing.T) { rejectAll(t, address) })
	t.Run("body sizes", func(t *testing.T) {
		const mib = 1 << 20
		got := post(t, address, strings.Repeat(" ", 3*mib)+event("null"))
		require.Equal(t, http.StatusCreated, got.status, got.body)
		got = post(t, address, strings.Repeat(" ", 5*mib))
		require.Equal(t, http.StatusRequestEntityTooLarge, got.status)
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
	})
	t.Run("request ids", func(t *testing.T) {
		got := get(t, address, eventPath+"/unknown", "X-Request-Id", "from-the-client")
		require.Equal(t, "from-the-client", got.header.Get("X-Request-Id"))
		require.NotNil(t, s.log.find("request_id=from-the-client client=unix ", s.ended))
		id := get(t, address, eventPath+"/unknown").header.Get("X-Request-Id")
		require.Regexp(t, "^[0-9a-f]{32}$", id)
		require.NotNil(t, s.log.find("request_id="+id+" client=unix ", s.ended))
	})
}

func TestConnectionsOverAUnixSocket(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	r := startRelayOn(t, l, startServer(t).address)
	address := nginxOverUnix(t, "unix:"+path)
	client := newClient(t)
	for range 20 {
		got, err := send(client, http.MethodPost, "http://"+address+eventPath, event("null"))
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, got.status)
	}
	connections, requests := r.seen()
	require.LessOrEqual(t, connections, 2, "each worker of nginx has a connection")
	require.Len(t, requests, 20)
	require.Equal(t, "127.0.0.1", requests[0].Host)
}

func TestRestartsOverAUnixSocket(t *testing.T) {
	restartDuringLoad(t, startServerAt(t, "unix:"+socketPath(t)), nginxOverUnix)
}

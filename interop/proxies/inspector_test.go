//go:build proxies && linux

package proxies_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInspectorBehindProxies(t *testing.T) {
	pair := selfSigned(t)
	nginxTLS := []string{"listen 127.0.0.1:8000;", "listen 127.0.0.1:8000 ssl; ssl_certificate " + pair + "; ssl_certificate_key " + pair + ";"}
	for name, c := range map[string]struct {
		proxy        proxy
		root, prefix string
	}{
		"nginx":                         {nginx(), "http://", ""},
		"nginx with TLS":                {nginx(nginxTLS...), "https://", ""},
		"nginx with a prefix":           {prefixNginx(), "http://", "/billing"},
		"nginx with a prefix and TLS":   {prefixNginx(nginxTLS...), "https://", "/billing"},
		"nginx of one directive":        {plainNginx(""), "http://", ""},
		"haproxy":                       {haproxy(), "http://", ""},
		"haproxy with TLS":              {haproxy("bind 127.0.0.1:8000", "bind 127.0.0.1:8000 ssl crt "+pair), "https://", ""},
		"haproxy with a prefix and TLS": {haproxy("bind 127.0.0.1:8000", "bind 127.0.0.1:8000 ssl crt "+pair, "option forwardfor", stripPrefix), "https://", "/billing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			address := c.proxy(t, s.address)
			requireInspector(t, s, c.root+address+c.prefix)
		})
	}
}

const stripPrefix = "option forwardfor\n    http-request replace-path /billing/(.*) /\\1"

func prefixNginx(edits ...string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		configs := documented(t, "nginx", 3)
		before, _, _ := strings.Cut(configs[0], "    location / {")
		config := edit(edits).apply(t, before+configs[2]+"}\n")
		return startNginx(t, edit{documentServer, server}.apply(t, config))
	}
}

func selfSigned(t *testing.T) (file string) {
	t.Helper()
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	output, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN=charges.example", "-keyout", key, "-out", cert).CombinedOutput()
	require.NoError(t, err, "%s", output)
	var pair []byte
	for _, part := range []string{cert, key} {
		text, err := os.ReadFile(part)
		require.NoError(t, err)
		pair = append(pair, text...)
	}
	file = filepath.Join(dir, "pair.pem")
	require.NoError(t, os.WriteFile(file, pair, 0o600))
	return file
}

func requireInspector(t *testing.T, s *server, root string) {
	t.Helper()
	client := newClient(t)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	page, err := send(client, http.MethodGet, root+"/inspector", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, page.status, "the redirect keeps the prefix")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	for _, asset := range []string{"app.css", "js/main.js", "icon.svg", "api/session"} {
		got, err := send(client, http.MethodGet, root+"/inspector/"+asset, "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, got.status, asset)
	}

	req, err := http.NewRequest(http.MethodGet, root+"/inspector/api/stream", nil)
	require.NoError(t, err)
	req.Header.Set("X-Api-Key", ingestKey)
	stream, err := client.Do(req)
	require.NoError(t, err)
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.JSONEq(t, `{"newest":0}`, line)
	got, err := send(client, http.MethodPost, root+eventPath, event(`"order-42"`))
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, got.status, got.body)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, `"newest":`, "the line of the new request is not buffered")

	begin := time.Now()
	s.end(syscall.SIGTERM)
	t.Logf("the server ended in %s", time.Since(begin))
	require.True(t, s.ProcessState.Success(), s.log.tail())
	_, err = io.Copy(io.Discard, lines)
	if err != nil {
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

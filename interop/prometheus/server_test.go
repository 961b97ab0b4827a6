//go:build prometheus && linux

package prometheus_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const key = "key-of-the-test"

func startServer(t *testing.T) (endpoint, metrics string) {
	t.Helper()
	dir := t.TempDir()
	keys := `[{"key": "` + key + `", "subject": "a", "platforms": ["p"], "permissions": ["METER_DATA.INGEST", "METER_DATA.VIEW"]}]`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys.json"), []byte(keys), 0o600))
	source := httptest.NewTLSServer(nil)
	defer source.Close()
	pair := source.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	destination := exec.Command(*serverBinary, "-addr", "127.0.0.1:0", "-db", "memory", "-api-key", key)
	destination.Dir = dir
	url := start(t, `msg=listening url=(\S+)`, destination)[1]
	cmd := exec.Command(*serverBinary, "-addr", "127.0.0.1:0", "-metrics-addr", "127.0.0.1:0", "-keys", "keys.json", "-retain", "400d",
		"-tls-cert", "cert.pem", "-tls-key", "key.pem",
		"-relay-url", url, "-relay-api-key", key, "-relay-platform", "default")
	cmd.Dir = dir
	found := start(t, `(?s)msg=listening url=https://(\S+).*msg="listening for /metrics" addr=(\S+)`, cmd)
	return found[1], found[2]
}

// The certificate is self-signed.
var client = http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

func send(t *testing.T, method, url, key, body string, want int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-API-KEY", key)
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, want, res.StatusCode, "%s %s", method, url)
}

func sendEach(t *testing.T, address string, round int) {
	t.Helper()
	event := func(reference, item string) string {
		return fmt.Sprintf(`{"product_item_id":%q,"pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"%s-%d"}`, item, reference, round)
	}
	single := "https://" + address + "/v1/ingest/charge-data"
	for _, r := range []struct {
		method, url, key, body string
		status                 int
	}{
		{"POST", single, key, event("a", "p"), 201},
		{"POST", single, key, event("a", "p"), 201}, // replayed
		{"POST", single, key, event("a", "q"), 409},
		{"POST", single, key, `{}`, 400},
		{"POST", single + "s", key, `{"charge_datas":[` + event("b", "p") + "," + event("c", "p") + `]}`, 201},
		{"POST", single, "unknown", strings.Repeat(" ", 1<<20), 401}, // discarded
		{"GET", single + "?limit=2", key, "", 200},
		{"GET", single + "/chda_unknown", key, "", 404},
		{"GET", "https://" + address + "/elsewhere", key, "", 404},
	} {
		send(t, r.method, r.url, r.key, r.body, r.status)
	}
}

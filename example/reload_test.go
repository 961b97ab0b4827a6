//go:build unix

package main

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func keyEntry(key, subject string) string {
	return `{"key":"` + key + `","subject":"` + subject + `","platforms":["p"],"permissions":["METER_DATA.INGEST","METER_DATA.VIEW"]}`
}

func keyList(entries ...string) string { return "[" + strings.Join(entries, ",\n") + "]" }

func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

type reloading struct {
	*reloader
	cfg      *serverConfig
	log      *recorder
	outcomes []error
}

func newReloading(t *testing.T, args ...string) *reloading {
	t.Helper()
	cfg, err := parseForTest(newTestProgram(), args...)
	require.NoError(t, err)
	r := &reloading{cfg: cfg, log: newRecorder()}
	logger := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{ReplaceAttr: truncateAttr}))
	all := newReloaders(cfg, logger, func(err error) { r.outcomes = append(r.outcomes, err) })
	require.Len(t, all, 1)
	r.reloader = all[0]
	return r
}

func (r *reloading) polls(n int) {
	for range n {
		r.poll()
	}
}

func (r *reloading) accepts(key string) bool {
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("X-Api-Key", key)
	_, err := r.cfg.keys.Authorize(req, chargeingest.PermissionView)
	return err == nil
}

func TestKeysFileChanges(t *testing.T) {
	for name, replace := range map[string]func(*testing.T, string, string){"rename": replaceFile, "write in place": overwrite} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "keys.json", keyList(keyEntry("old", "shop"), keyEntry("kept", "k")))
			r := newReloading(t, "-keys", path, "-api-key", "fixed")
			r.polls(3)
			require.Empty(t, r.log.String(), "nothing has changed")

			replace(t, path, keyList(keyEntry("new", "shop-2"), strings.Replace(keyEntry("kept", "k"), `"p"`, `"p","q"`, 1)))
			r.poll()
			require.True(t, r.accepts("old") && !r.accepts("new"), "one poll may have read an incomplete file")
			r.poll()
			require.True(t, !r.accepts("old") && r.accepts("new") && r.accepts("kept") && r.accepts("fixed"))
			r.polls(3)
			require.Regexp(t, `^time=\S+ level=INFO msg="keys reloaded" keys=2 added=shop-2 removed=shop changed=k\n$`, r.log.String())
			require.Equal(t, []error{nil}, r.outcomes)
		})
	}
}

func TestKeysOfAKubernetesSecret(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	publish := func(version, text string) {
		require.NoError(t, os.Mkdir(at(version), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(at(version), "keys.json"), []byte(text), 0o600))
		require.NoError(t, os.Symlink(version, at("..data_tmp")))
		require.NoError(t, os.Rename(at("..data_tmp"), at("..data")))
	}
	publish("..1", keyList(keyEntry("old", "s")))
	require.NoError(t, os.Symlink("..data/keys.json", at("keys.json")))
	r := newReloading(t, "-keys", at("keys.json"))
	publish("..2", keyList(keyEntry("new", "s")))
	require.NoError(t, os.RemoveAll(at("..1")))
	r.polls(2)
	require.True(t, r.accepts("new") && !r.accepts("old"))
}

func TestInvalidFileKeepsTheKeys(t *testing.T) {
	valid := keyList(keyEntry("old", "s"))
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		cause  string // % stands for the path
	}{
		"truncated":       {func(t *testing.T, path string) { overwrite(t, path, valid[:len(valid)-1]) }, "% must be a valid JSON list without duplicate field names"},
		"empty":           {func(t *testing.T, path string) { overwrite(t, path, "") }, "% must be a valid JSON list without duplicate field names"},
		"no keys":         {func(t *testing.T, path string) { overwrite(t, path, "[]") }, "% must have at least one key"},
		"invalid field":   {func(t *testing.T, path string) { overwrite(t, path, keyList(keyEntry("secret 1", "s"))) }, "%[0].key must be visible ASCII characters, without spaces"},
		"key of -api-key": {func(t *testing.T, path string) { overwrite(t, path, keyList(keyEntry("fixed", "s"))) }, "-api-key: must not also be in the file of -keys"},
		"deleted":         {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, "stat %: no such file or directory"},
		"now a directory": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		}, "%: only a regular file can be read again"},
		"link to nothing": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("gone", path))
		}, `is a symbolic link to \"gone\", which does not exist`},
		"too large":        {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, maxFileBytes+1)) }, "%: must have at most 16777216 bytes"},
		"duplicate of key": {func(t *testing.T, path string) { overwrite(t, path, keyList(keyEntry("a", "s"), keyEntry("a", "s"))) }, "%[1] has the same key as [0]"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "keys.json", valid)
			r := newReloading(t, "-keys", path, "-api-key", "fixed")
			c.change(t, path)
			r.polls(10)
			require.True(t, r.accepts("old") && r.accepts("fixed"))
			require.Equal(t, 1, strings.Count(r.log.String(), "\n"), r.log)
			require.Contains(t, r.log.String(), `level=ERROR msg="keys not reloaded; the previous content stays in use" error=`)
			require.Contains(t, r.log.String(), strings.ReplaceAll(c.cause, "%", path))
			require.NotContains(t, r.log.String(), "secret")
			require.Len(t, r.outcomes, 1)
			require.Error(t, r.outcomes[0])

			r.reload()
			require.Len(t, r.outcomes, 2, "SIGHUP reports the reason again")
			require.NoError(t, os.RemoveAll(path))
			replaceFile(t, path, keyList(keyEntry("new", "s")))
			r.polls(2)
			require.True(t, r.accepts("new") && !r.accepts("old"))
		})
	}
}

func TestHalfWrittenFileIsNotReported(t *testing.T) {
	path := writeFile(t, "keys.json", keyList(keyEntry("old", "s")))
	r := newReloading(t, "-keys", path)
	text := keyList(keyEntry("new", "s"))
	for n := range len(text) {
		overwrite(t, path, text[:n])
		r.poll()
	}
	require.Empty(t, r.outcomes)
	overwrite(t, path, text)
	r.polls(2)
	require.Equal(t, []error{nil}, r.outcomes)
	require.True(t, r.accepts("new"))
}

func TestLongSubjectsAreTruncated(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	path := writeFile(t, "keys.json", keyList(keyEntry("old", long), keyEntry("kept", "k")))
	r := newReloading(t, "-keys", path)
	overwrite(t, path, keyList(keyEntry("new", long), keyEntry("kept", long)))
	r.reload()
	require.Equal(t, []error{nil}, r.outcomes)
	require.Less(t, len(r.log.String()), 16<<10)
}

func copyPair(t *testing.T, certFile, keyFile, certTo, keyTo string) {
	t.Helper()
	for from, to := range map[string]string{certFile: certTo, keyFile: keyTo} {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		replaceFile(t, to, string(text))
	}
}

func startPolled(t *testing.T, args ...string) (s *runningServer, polls func()) {
	t.Helper()
	tp := newTestProgram()
	ticks := make(chan time.Time)
	tp.tick = func(time.Duration) <-chan time.Time { return ticks }
	return tp.start(t, args...), func() {
		for range 3 { // the third is received after the second
			ticks <- time.Time{}
		}
	}
}

func TestCertificateReload(t *testing.T) {
	certFile, keyFile := certificateFor(t, "old.example")
	metricsPath := socketPath(t)
	s, polls := startPolled(t, "-tls-cert", certFile, "-tls-key", keyFile, "-metrics-addr", "unix:"+metricsPath)
	served := func() string {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer conn.Close()
		certificate := conn.ConnectionState().PeerCertificates[0]
		_, text := getUnix(t, metricsPath, "/metrics")
		_, text, _ = strings.Cut(text, "\nchargeingest_certificate_expiry_timestamp_seconds ")
		text, _, _ = strings.Cut(text, "\n")
		expiry, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err)
		require.Equal(t, certificate.NotAfter.Unix(), int64(expiry))
		return certificate.DNSNames[0]
	}
	require.Equal(t, "old.example", served())

	newCert, newKey := certificateUntil(t, "new.example", time.Now().Add(2*time.Hour))
	copyPair(t, newCert, keyFile, certFile, keyFile)
	polls()
	require.Equal(t, "old.example", served(), "the key is not of this certificate")
	require.Equal(t, 1, strings.Count(s.log.String(), "certificate not reloaded"), s.log)
	require.Contains(t, s.log.String(), "-tls-cert, -tls-key: tls: private key does not match public key")

	copyPair(t, newCert, newKey, certFile, keyFile)
	polls()
	require.Equal(t, "new.example", served())
	require.Contains(t, s.log.String(), `msg="certificate reloaded" not_after=`)

	require.NoError(t, os.Remove(certFile))
	polls()
	require.Equal(t, "new.example", served())
	require.Equal(t, 2, strings.Count(s.log.String(), "certificate not reloaded"), s.log)
}

func TestReloadMetrics(t *testing.T) {
	path := writeFile(t, "keys.json", keyList(keyEntry("old", "s")))
	s, polls := startPolled(t, "-keys", path)
	for _, c := range []struct{ text, success, failure, last string }{
		{"[", "0", "1", "0"}, {keyList(keyEntry("new", "s")), "1", "1", "1"}, {"", "1", "2", "0"},
	} {
		overwrite(t, path, c.text)
		polls()
		_, text := s.send(t, http.MethodGet, "/metrics", "")
		require.Contains(t, text, "\n"+`chargeingest_api_keys_reloads_total{result="success"} `+c.success+"\n")
		require.Contains(t, text, "\n"+`chargeingest_api_keys_reloads_total{result="failure"} `+c.failure+"\n")
		require.Contains(t, text, "\nchargeingest_api_keys_last_reload_successful "+c.last+"\n")
	}
}

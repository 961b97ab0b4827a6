package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func newKey(t *testing.T, args ...string) (entry, secret string) {
	t.Helper()
	status, stdout, stderr := runTool(t, append([]string{"keys", "new"}, args...)...)
	require.Equal(t, 0, status, stderr)
	_, secret, found := strings.Cut(strings.TrimSuffix(stderr, "\n"), ", shown only once: ")
	require.True(t, found, stderr)
	require.GreaterOrEqual(t, len(secret), 26)
	require.NotContains(t, stdout, secret)
	return stdout, secret
}

func TestKeysNewForServer(t *testing.T) {
	full, fullKey := newKey(t, "-subject", "billing", "-platforms", "acme,globex")
	view, viewKey := newKey(t, "-subject", `reports "2"`, "-permissions", "METER_DATA.VIEW")
	require.NotEqual(t, fullKey, viewKey)
	file := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(file, []byte("["+full+","+view+"]"), 0o600))
	s := startRealServer(t, "memory", "-keys", file)
	const event = `{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p"}`
	for _, c := range []struct {
		key, method string
		status      int
	}{
		{fullKey, http.MethodPost, http.StatusCreated}, {fullKey, http.MethodGet, http.StatusOK},
		{viewKey, http.MethodPost, http.StatusForbidden}, {viewKey, http.MethodGet, http.StatusOK},
		{fullKey + "x", http.MethodGet, http.StatusUnauthorized},
	} {
		status, body := s.request(t, c.method, "/v1/ingest/charge-data", c.key, event)
		require.Equal(t, c.status, status, "%s", body)
	}
}

func TestKeysNewEntry(t *testing.T) {
	entry, secret := newKey(t, "-subject", "Ä\u202e<b>")
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(entry), &fields))
	hash := fields["key_sha256"]
	delete(fields, "key_sha256")
	require.Equal(t, map[string]any{
		"subject": "Ä\u202e<b>", "platforms": []any{"default"}, "permissions": []any{"METER_DATA.INGEST", "METER_DATA.VIEW"},
	}, fields)
	require.NotContains(t, entry, "\u202e")
	for _, end := range []string{"", "\n", "\r\n"} {
		status, stdout, stderr := hashKey(t, secret+end)
		require.Equal(t, 0, status, stderr)
		require.Equal(t, hash.(string)+"\n", stdout)
		require.Empty(t, stderr)
	}
}

func hashKey(t *testing.T, input string) (status int, stdout, stderr string) {
	t.Helper()
	tp := newTestProgram()
	tp.stdin = strings.NewReader(input)
	status = tp.run(t.Context(), []string{"keys", "hash"})
	return status, tp.out.String(), tp.log.String()
}

func TestKeysHashOfInvalidKey(t *testing.T) {
	for input, text := range map[string]string{
		"": "visible ASCII", "\n": "visible ASCII", "a b": "visible ASCII", "key\n\n": "visible ASCII", "key\nkey": "visible ASCII",
		"key ": "visible ASCII", "clé": "visible ASCII", "\xef\xbb\xbfkey": "visible ASCII", "key\x00": "visible ASCII",
		strings.Repeat("k", 16<<10): "too long", strings.Repeat("k", 1<<20): "too long",
	} {
		status, stdout, stderr := hashKey(t, input)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, text)
		require.Empty(t, stdout)
		require.NotContains(t, stderr, "key\n")
	}
}

func TestKeysUsage(t *testing.T) {
	for _, c := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"new"}, "keys new: -subject must be given"},
		{[]string{"new", "-subject="}, "-subject: must not be empty"},
		{[]string{"new", "-subject", "\xff"}, "-subject: must be valid UTF-8"},
		{[]string{"new", "-subject", "s", "x"}, `keys new: unexpected argument "x"`},
		{[]string{"new", "-subject", "s", "-platforms", "a,"}, "-platforms: must be different names"},
		{[]string{"new", "-subject", "s", "-platforms", "a, b"}, "-platforms: must be different names"},
		{[]string{"new", "-subject", "s", "-platforms", "a,a"}, "-platforms: must be different names"},
		{[]string{"new", "-subject", "s", "-platforms", "a\n"}, "-platforms: must be different names"},
		{[]string{"new", "-subject", "s", "-permissions", "VIEW"}, "-permissions: must be METER_DATA.INGEST or METER_DATA.VIEW"},
		{[]string{"hash", "secret"}, "keys hash: unexpected argument"},
		{[]string{"show"}, `unknown command "keys show"`},
	} {
		status, stdout, stderr := runTool(t, append([]string{"keys"}, c.args...)...)
		require.Equal(t, 2, status)
		require.Contains(t, stderr, c.stderr)
		require.NotContains(t, stderr, "secret")
		require.Empty(t, stdout)
	}
}

func TestKeysNewToFullDisk(t *testing.T) {
	failing := writerFunc(func([]byte) (int, error) { return 0, errors.New("disk full") })
	for name, set := range map[string]func(*testProgram){
		"standard output": func(tp *testProgram) { tp.stdout = failing },
		"standard error":  func(tp *testProgram) { tp.stderr = failing },
	} {
		tp := newTestProgram()
		set(tp)
		require.Equal(t, 1, tp.run(t.Context(), []string{"keys", "new", "-subject", "s"}), name)
		if name == "standard error" {
			require.Empty(t, tp.out.String())
		} else {
			require.True(t, bytes.Contains(tp.log.Bytes(), []byte("write to standard output: disk full")))
		}
	}
}

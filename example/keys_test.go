package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestKeysFile(t *testing.T) {
	const entry = `{"key":"%","subject":"s","platforms":["p","q"],"permissions":["METER_DATA.INGEST"]}`
	valid := strings.Replace(entry, "%", "secret-1", 1)
	for _, c := range []struct{ name, text, line string }{
		{"incomplete JSON", `[{"key":"secret-1"`, " must be a valid JSON list without duplicate field names"},
		{"object", valid, " must be a valid JSON list without duplicate field names"},
		{"two lists", "[" + valid + "] []", " must be a valid JSON list without duplicate field names"},
		{"duplicate field", `[{"key":"secret-1","key":"secret-1"}]`, " must be a valid JSON list without duplicate field names"},
		{"empty list", "[]", " must have at least one key"},
		{"string instead of an object", "[" + valid + `,"secret-1"]`, "[1] must be an object"},
		{"null instead of an object", "[null]", "[0] must be an object"},
		{"unknown field", `[{"kye":"secret-1"}]`, "[0].kye is not a known field; the fields are key, key_sha256, subject, platforms, permissions"},
		{"number as the key", `[{"key":1234567}]`, "[0].key must be a string"},
		{"string as the platforms", `[{"platforms":"secret-1"}]`, "[0].platforms must be a list of strings"},
		{"neither key nor hash", `[{"subject":"s"}]`, "[0] must have exactly one of key and key_sha256"},
		{"both key and hash", `[{"key":"secret-1","key_sha256":"00"}]`, "[0] must have exactly one of key and key_sha256"},
		{"key with a space", `[{"key":"secret-1 "}]`, "[0].key must be visible ASCII characters, without spaces"},
		{"short hash", `[{"key_sha256":"00"}]`, "[0].key_sha256 must be 64 hexadecimal digits"},
		{"hash with other characters", `[{"key_sha256":"` + strings.Repeat("xy", 32) + `"}]`, "[0].key_sha256 must be 64 hexadecimal digits"},
		{"no subject", `[{"key":"secret-1"}]`, "[0].subject must not be empty"},
		{"no platform", `[{"key":"secret-1","subject":"s"}]`, "[0].platforms must be a list of at least one platform, none of them empty"},
		{"empty platform", `[{"key":"secret-1","subject":"s","platforms":[""]}]`, "[0].platforms must be a list of at least one platform, none of them empty"},
		{"no permission", `[{"key":"secret-1","subject":"s","platforms":["p"]}]`, "[0].permissions must have at least one permission"},
		{
			"unknown permission", strings.Replace("["+valid+"]", "METER_DATA.INGEST", "secret-1", 1),
			"[0].permissions[0] must be METER_DATA.INGEST or METER_DATA.VIEW",
		},
		{"duplicate key", "[" + valid + "," + strings.Replace(entry, "%", "other", 1) + "," + valid + "]", "[2] has the same key as [0]"},
		{
			"key and its hash",
			"[" + valid + `,{"key_sha256":"` + sha256Hex("secret-1") + `","subject":"s","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`,
			"[1] has the same key as [0]",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTestProgram()
			path := writeFile(t, "keys.json", c.text)
			require.Equal(t, 2, tp.run(context.Background(), []string{"-keys", path}))
			require.Equal(t, "chargeingest: -keys: "+path+c.line+"\n", tp.log.String())
			require.NotContains(t, tp.log.String(), "secret-1")
			require.NotContains(t, tp.log.String(), "1234567")
		})
	}
}

func TestAPIKeyAlsoInFile(t *testing.T) {
	tp := newTestProgram()
	path := writeFile(t, "keys.json", `[{"key":"secret-1","subject":"s","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`)
	require.Equal(t, 2, tp.run(context.Background(), []string{"-keys", path, "-api-key", "secret-1"}))
	require.Equal(t, "chargeingest: -api-key: must not be in the file of -keys too\n", tp.log.String())
}

func TestKeysFilePlatformsAndPermissions(t *testing.T) {
	file := writeFile(t, "keys.json", `[
		{"key":"sender","subject":"s","platforms":["p"],"permissions":["METER_DATA.INGEST"]},
		{"key":"reader","subject":"r","platforms":["p","q"],"permissions":["METER_DATA.VIEW"]}]`)
	s := startServer(t, "-keys", file, "-api-key", "everything")
	post := func(key string) int {
		s.key = key
		status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
		return status
	}
	require.Equal(t, http.StatusCreated, post("sender"))
	require.Equal(t, http.StatusForbidden, post("reader"))
	require.Equal(t, http.StatusUnauthorized, post("unknown"))
	s.key = "reader"
	require.Len(t, s.events(t), 1)
	s.key = "everything"
	require.Empty(t, s.events(t), "-api-key has another platform")
}

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func parseForTest(tp *testProgram, args ...string) (*serverConfig, error) {
	return parseServerConfig(args, tp.lookupEnv, tp.out)
}

func TestConfigDefaults(t *testing.T) {
	c, err := parseForTest(newTestProgram())
	require.NoError(t, err)
	require.NotNil(t, c.keys)
	require.Len(t, c.madeKey, 26)
	c.keys, c.madeKey = nil, ""
	require.Equal(t, &serverConfig{addr: "127.0.0.1:8080", db: "charges.db", maxBody: 4 << 20}, c)
}

func TestConfigMakesAnotherKeyEachTime(t *testing.T) {
	one, err := parseForTest(newTestProgram())
	require.NoError(t, err)
	two, err := parseForTest(newTestProgram())
	require.NoError(t, err)
	require.NotEqual(t, one.madeKey, two.madeKey)
}

// serverSettings are a value for each option, other than its default.
func serverSettings(t *testing.T) map[string]string {
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	return map[string]string{
		"ADDR": "0.0.0.0:99", "METRICS_ADDR": "127.0.0.1:98", "DB": "other.db", "API_KEY": "given-key", "LOG": "json", "MAX_BODY": "1000",
		"TLS_CERT": certFile, "TLS_KEY": keyFile, "DUPLICATES": "return-original", "UNKNOWN_FIELDS": "keep", "REFERENCES": "required",
		"JWKS_URL": "https://login.example/jwks.json", "JWT_ISSUER": "https://login.example/", "JWT_AUDIENCE": "charges", "JWT_TYPE": "at+jwt",
		"JWT_PERMISSIONS_CLAIM": "roles", "JWT_PLATFORMS_CLAIM": "tenants",
		"KEYS": writeFile(t, "keys.json", `[{"key":"k","subject":"s","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`),
	}
}

func TestEveryOptionIsAFlagAndAVariable(t *testing.T) {
	settings := serverSettings(t)
	byFlag, byVariable := newTestProgram(), newTestProgram()
	var args []string
	for name, value := range settings {
		args = append(args, "-"+strings.ReplaceAll(strings.ToLower(name), "_", "-"), value)
		byVariable.env["CHARGEINGEST_"+name] = value
	}
	var c serverConfig
	// All but -jwt-platform, which has no place beside -jwt-platforms-claim.
	require.Len(t, settings, len(serverCommand(&c, new(credentials), new(string)).options)-1, "an option is not tested")

	for name, parse := range map[string]func() (*serverConfig, error){
		"flags":     func() (*serverConfig, error) { return parseForTest(byFlag, args...) },
		"variables": func() (*serverConfig, error) { return parseForTest(byVariable) },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse()
			require.NoError(t, err)
			require.NotNil(t, c.certificate)
			require.NotNil(t, c.keys)
			c.certificate, c.keys = nil, nil
			require.Equal(t, &serverConfig{
				addr: "0.0.0.0:99", metricsAddr: "127.0.0.1:98", db: "other.db", logJSON: true, maxBody: 1000, certFile: settings["TLS_CERT"],
				duplicates: chargeingest.ReturnOriginal, keepUnknown: true, required: true,
				tokens: tokenConfig{
					jwksURL: "https://login.example/jwks.json", issuer: "https://login.example/", audience: "charges", typ: "at+jwt",
					permissionsClaim: "roles", platformsClaim: "tenants",
				},
			}, c)
		})
	}
}

func TestFlagWinsOverVariable(t *testing.T) {
	tp := newTestProgram()
	tp.env["CHARGEINGEST_DB"] = "variable.db"
	c, err := parseForTest(tp, "-db", "flag.db")
	require.NoError(t, err)
	require.Equal(t, "flag.db", c.db)
}

func TestBadValueIsOneLineAndStatusTwo(t *testing.T) {
	folder := t.TempDir()
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	_, otherKey := certificateFor(t, "127.0.0.1")
	// In the text a % stands for the folder.
	for _, c := range []struct {
		args string
		env  string
		line string
	}{
		{args: "-addr localhost", line: `-addr: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, not "localhost"`},
		{args: "-addr localhost:http", line: `-addr: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, not "localhost:http"`},
		{args: "-addr :65536", line: `-addr: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, not ":65536"`},
		{env: "CHARGEINGEST_ADDR=8080", line: `CHARGEINGEST_ADDR: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, not "8080"`},
		{args: "-db=", line: "-db: must not be empty"},
		{env: "CHARGEINGEST_DB=", line: "CHARGEINGEST_DB: must not be empty"},
		{args: "-api-key=", line: "-api-key: must not be empty"},
		{env: "CHARGEINGEST_API_KEY=", line: "CHARGEINGEST_API_KEY: must not be empty"},
		{env: "CHARGEINGEST_API_KEY=top secret", line: "CHARGEINGEST_API_KEY: must be visible ASCII characters, without spaces"},
		{args: "-api-key", line: "flag needs an argument: -api-key"},
		{args: "-keys %/none.json", line: "-keys: open %/none.json: no such file or directory"},
		{env: "CHARGEINGEST_KEYS=%/none.json", line: "CHARGEINGEST_KEYS: open %/none.json: no such file or directory"},
		{args: "-log xml", line: `-log: must be text or json, not "xml"`},
		{env: "CHARGEINGEST_LOG=TEXT", line: `CHARGEINGEST_LOG: must be text or json, not "TEXT"`},
		{args: "-max-body 0", line: `-max-body: must be a whole number from 1 to 1073741824, not "0"`},
		{args: "-max-body -1", line: `-max-body: must be a whole number from 1 to 1073741824, not "-1"`},
		{args: "-max-body 4MiB", line: `-max-body: must be a whole number from 1 to 1073741824, not "4MiB"`},
		{args: "-max-body 1073741825", line: `-max-body: must be a whole number from 1 to 1073741824, not "1073741825"`},
		{args: "-max-body 99999999999999999999", line: `-max-body: must be a whole number from 1 to 1073741824, not "99999999999999999999"`},
		{args: "-tls-cert " + certFile, line: "-tls-cert and -tls-key must be given together"},
		{env: "CHARGEINGEST_TLS_KEY=" + keyFile, line: "-tls-cert and -tls-key must be given together"},
		{args: "-tls-cert %/none.pem -tls-key " + keyFile, line: "-tls-cert, -tls-key: open %/none.pem: no such file or directory"},
		{args: "-tls-cert " + certFile + " -tls-key " + otherKey, line: "-tls-cert, -tls-key: tls: private key does not match public key"},
		{args: "-duplicates yes", line: `-duplicates: must be reject or return-original, not "yes"`},
		{args: "-unknown-fields drop", line: `-unknown-fields: must be reject or keep, not "drop"`},
		{args: "-jwks-url=", line: "-jwks-url: must not be empty"},
		{args: "-jwks-url https://h", line: "-jwt-audience must be given with -jwks-url: without it, tokens for other services would be accepted"},
		{args: "-jwt-issuer i", line: "-jwks-url must be given with the options that start with -jwt"},
		{env: "CHARGEINGEST_JWT_PLATFORM=p", line: "-jwks-url must be given with the options that start with -jwt"},
		{args: "-jwks-url https://h -jwt-audience a -jwt-platform p -jwt-platforms-claim c", line: "-jwt-platform and -jwt-platforms-claim must not be given together"},
		{args: "-jwks-url http://u:secret@h -jwt-audience a", line: "-jwks-url, -jwt-platform: jwtauth: Config.JWKSURL must be an https URL, or an http URL on a loopback address, without user and fragment"},
		{args: "-port 80", line: "flag provided but not defined: -port"},
		{args: "lode", line: `unexpected argument "lode"; the commands are load and tail, and come first; -help explains`},
		{args: "-db memory load", line: `unexpected argument "load"; the commands are load and tail, and come first; -help explains`},
		{args: "-- -addr", line: `unexpected argument "-addr"; the commands are load and tail, and come first; -help explains`},
		{args: "load", line: "load: one FILE must be given, not 0"},
		{args: "load a b", line: "load: one FILE must be given, not 2"},
		{args: "load a", line: "load: -api-key or CHARGEINGEST_API_KEY must be given"},
		{args: "load %/none.ndjson -api-key k", line: "load: open %/none.ndjson: no such file or directory"},
		{args: "load a -batch 0 -api-key k", line: `-batch: must be a whole number from 1 to 1000, not "0"`},
		{args: "load a -batch 1001 -api-key k", line: `-batch: must be a whole number from 1 to 1000, not "1001"`},
		{args: "load a -url ftp://u:secret@h", line: "-url: must be an http or https URL without user, query and fragment, such as http://127.0.0.1:8080"},
		{env: "CHARGEINGEST_URL=127.0.0.1:8080", args: "tail", line: "CHARGEINGEST_URL: must be an http or https URL without user, query and fragment, such as http://127.0.0.1:8080"},
		{args: "tail more", line: `tail: unexpected argument "more"`},
		{args: "tail", line: "tail: -api-key or CHARGEINGEST_API_KEY must be given"},
		{args: "tail -interval 0s -api-key k", line: `-interval: must be a positive time such as 500ms or 2s, not "0s"`},
		{args: "tail -interval 1 -api-key k", line: `-interval: must be a positive time such as 500ms or 2s, not "1"`},
		{args: "tail -follow=maybe -api-key k", line: `-follow: must be true or false, not "maybe"`},
		{args: "tail -position= -api-key k", line: "-position: must not be empty"},
	} {
		t.Run(c.args+" "+c.env, func(t *testing.T) {
			tp := newTestProgram()
			in := strings.NewReplacer("%", folder)
			if name, value, ok := strings.Cut(c.env, "="); ok {
				tp.env[name] = in.Replace(value)
			}
			status := tp.run(context.Background(), strings.Fields(in.Replace(c.args)))
			require.Equal(t, "example: "+in.Replace(c.line)+"\n", tp.log.String())
			require.Equal(t, 2, status)
			require.Empty(t, tp.out.String())
		})
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	for _, args := range [][]string{{"-help"}, {"-h"}, {"load", "-help"}, {"tail", "x", "--help"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 0, tp.run(context.Background(), args))
			require.Empty(t, tp.log.String())
			require.Contains(t, tp.out.String(), "-api-key KEY  (or CHARGEINGEST_API_KEY)")
		})
	}
	var c serverConfig
	tp := newTestProgram()
	cmd := serverCommand(&c, new(credentials), new(string))
	_, err := cmd.parse([]string{"-help"}, tp.lookupEnv, tp.out)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, o := range cmd.options {
		require.Contains(t, tp.out.String(), "  -"+o.name+" "+o.argument+"  (or "+o.env+")\n")
		require.Equal(t, "CHARGEINGEST_"+strings.ToUpper(strings.ReplaceAll(o.name, "-", "_")), o.env)
	}
}

func TestOptionsAndArgumentsComeInAnyOrder(t *testing.T) {
	for _, args := range []string{"file -x 1 other", "-x 1 file other", "file other -x=1", "-x 1 -- file other"} {
		var x string
		cmd := &command{options: []option{{name: "x", argument: "X", set: text(&x)}}}
		arguments, err := cmd.parse(strings.Fields(args), newTestProgram().lookupEnv, os.Stderr)
		require.NoError(t, err, args)
		require.Equal(t, []string{"file", "other"}, arguments, args)
		require.Equal(t, "1", x, args)
	}
}

func TestComplaintIsOneLineWhateverItHolds(t *testing.T) {
	tp := newTestProgram()
	tp.complain("one\ntwo\x1b[31m\rthree\n")
	require.Equal(t, "one; two [31m three\n", tp.log.String())
}

func TestKeysFile(t *testing.T) {
	const entry = `{"key":"%","subject":"s","platforms":["p","q"],"permissions":["METER_DATA.INGEST"]}`
	valid := strings.Replace(entry, "%", "secret-1", 1)
	for _, c := range []struct{ name, text, line string }{
		{"no JSON", `[{"key":"secret-1"`, " must be one valid JSON list, in which no object has two members of one name"},
		{"an object", valid, " must be one valid JSON list, in which no object has two members of one name"},
		{"two lists", "[" + valid + "] []", " must be one valid JSON list, in which no object has two members of one name"},
		{"a member twice", `[{"key":"secret-1","key":"secret-1"}]`, " must be one valid JSON list, in which no object has two members of one name"},
		{"no entry", "[]", " has no key; without one nobody could send events"},
		{"an entry that is no object", "[" + valid + `,"secret-1"]`, "[1] must be an object"},
		{"an entry that is null", "[null]", "[0] must be an object"},
		{"an unknown member", `[{"kye":"secret-1"}]`, "[0].kye is not a known member; known are key, key_sha256, subject, platforms, permissions"},
		{"a number for the key", `[{"key":1234567}]`, "[0].key must be a string"},
		{"a string for the platforms", `[{"platforms":"secret-1"}]`, "[0].platforms must be a list of strings"},
		{"neither key nor hash", `[{"subject":"s"}]`, "[0] must have exactly one of key and key_sha256"},
		{"both key and hash", `[{"key":"secret-1","key_sha256":"00"}]`, "[0] must have exactly one of key and key_sha256"},
		{"a key that no header can carry", `[{"key":"secret-1 "}]`, "[0].key must be visible ASCII characters, without spaces"},
		{"a hash that is short", `[{"key_sha256":"00"}]`, "[0].key_sha256 must be 64 hexadecimal digits"},
		{"a hash that is none", `[{"key_sha256":"` + strings.Repeat("xy", 32) + `"}]`, "[0].key_sha256 must be 64 hexadecimal digits"},
		{"no subject", `[{"key":"secret-1"}]`, "[0].subject must be set"},
		{"no platform", `[{"key":"secret-1","subject":"s"}]`, "[0].platforms must name at least one platform, none of them empty"},
		{"an empty platform", `[{"key":"secret-1","subject":"s","platforms":[""]}]`, "[0].platforms must name at least one platform, none of them empty"},
		{"no permission", `[{"key":"secret-1","subject":"s","platforms":["p"]}]`, "[0].permissions must have at least one permission"},
		{
			"an unknown permission", strings.Replace("["+valid+"]", "METER_DATA.INGEST", "secret-1", 1),
			"[0].permissions[0] must be METER_DATA.INGEST or METER_DATA.VIEW",
		},
		{"the same key twice", "[" + valid + "," + strings.Replace(entry, "%", "other", 1) + "," + valid + "]", "[2] has the same key as [0]"},
		{
			"the same key in clear and hashed", // printf secret-1 | sha256sum
			"[" + valid + `,{"key_sha256":"` + sha256Hex("secret-1") + `","subject":"s","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`,
			"[1] has the same key as [0]",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTestProgram()
			path := writeFile(t, "keys.json", c.text)
			require.Equal(t, 2, tp.run(context.Background(), []string{"-keys", path}))
			require.Equal(t, "example: -keys: "+path+c.line+"\n", tp.log.String())
			require.NotContains(t, tp.log.String(), "secret-1")
			require.NotContains(t, tp.log.String(), "1234567")
		})
	}
}

func TestAPIKeyMustNotBeInTheFileToo(t *testing.T) {
	tp := newTestProgram()
	path := writeFile(t, "keys.json", `[{"key":"secret-1","subject":"s","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`)
	require.Equal(t, 2, tp.run(context.Background(), []string{"-keys", path, "-api-key", "secret-1"}))
	require.Equal(t, "example: -api-key: is in the file of -keys too; it must be in one place\n", tp.log.String())
}

func TestNothingIsDoneAfterABadValue(t *testing.T) {
	t.Chdir(t.TempDir())
	require.Equal(t, 2, newTestProgram().run(context.Background(), []string{"-log", "xml"}))
	files, err := filepath.Glob("*")
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestLogLinesAreBounded(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		for name, piece := range map[string]string{"letters": "a", "control characters": "\x1b", "invalid UTF-8": "\xff"} {
			t.Run(name+" as "+format, func(t *testing.T) {
				c, err := parseForTest(newTestProgram(), "-log", format)
				require.NoError(t, err)
				long := strings.Repeat(piece, 100_000)
				var lines bytes.Buffer
				logger := c.logger(&lines)
				logger.Warn("not ready", "error", errors.New(long))
				logger.Warn("not ready", "text", long, "error", fmt.Errorf("wrapped: %w", errors.New(long)))
				newHTTPServer(http.NotFoundHandler(), nil, logger).ErrorLog.Printf("http: panic serving: %v", long)
				require.Equal(t, 3, strings.Count(lines.String(), "\n"))
				for line := range strings.Lines(lines.String()) {
					require.LessOrEqual(t, len(line), 16<<10)
				}
				require.Contains(t, lines.String(), "wrapped: ")
			})
		}
	}
}

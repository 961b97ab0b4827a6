package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
)

func parseForTest(tp *testProgram, args ...string) (*serverConfig, error) {
	return parseServerConfig(args, tp.lookupEnv, tp.out)
}

func TestConfigDefaults(t *testing.T) {
	c, err := parseForTest(newTestProgram())
	require.NoError(t, err)
	require.NotNil(t, c.keys)
	require.Len(t, c.generatedKey, 26)
	c.keys, c.generatedKey = nil, ""
	require.Equal(t, &serverConfig{db: "charges.db", maxBody: 4 << 20}, c)
}

func TestGeneratedKeysDiffer(t *testing.T) {
	one, err := parseForTest(newTestProgram())
	require.NoError(t, err)
	two, err := parseForTest(newTestProgram())
	require.NoError(t, err)
	require.NotEqual(t, one.generatedKey, two.generatedKey)
}

func serverSettings(t *testing.T) map[string]string {
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	return map[string]string{
		"ADDR": "0.0.0.0:99", "METRICS_ADDR": "unix:/run/metrics.sock", "DB": "other.db", "API_KEY": "given-key", "LOG_FORMAT": "json", "MAX_BODY": "1000",
		"TLS_CERT": certFile, "TLS_KEY": keyFile, "DUPLICATES": "return-original", "UNKNOWN_FIELDS": "keep", "REFERENCES": "required", "RETAIN": "400d", "INSPECTOR": "off",
		"JWKS_URL": "https://login.example/jwks.json", "JWT_ISSUER": "https://login.example/", "JWT_AUDIENCE": "charges", "JWT_TYPE": "at+jwt",
		"JWT_PERMISSIONS_CLAIM": "roles", "JWT_PLATFORMS_CLAIM": "tenants",
		"RELAY_URL": "https://billing.example/charges/", "RELAY_API_KEY": "relay-key", "RELAY_PLATFORM": "acme", "RELAY_FROM": "now",
		"RELAY_NATS": "nats://u:p@a:4222,b:4222/charges.new", "RELAY_NATS_CREDS": "nats.creds", "RELAY_KAFKA": "kafka+tls://u:p%40@a:9092/charges?sasl=plain",
		"KEYS": writeFile(t, "keys.json", `[{"key":"k","subject":"s","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`),
	}
}

func TestOptionsAsFlagsAndVariables(t *testing.T) {
	settings := serverSettings(t)
	byFlag, byVariable := newTestProgram(), newTestProgram()
	var args []string
	for name, value := range settings {
		args = append(args, "-"+strings.ReplaceAll(strings.ToLower(name), "_", "-"), value)
		byVariable.env["CHARGEINGEST_"+name] = value
	}
	var c serverConfig
	// -jwt-platform excludes -jwt-platforms-claim.
	options := slices.DeleteFunc(serverCommand(&c, new(keyConfig), new(certificate)).Options, func(o cli.Option) bool { return o.Env == "" })
	require.Len(t, settings, len(options)-1, "an option is not tested")

	for name, parse := range map[string]func() (*serverConfig, error){
		"flags":     func() (*serverConfig, error) { return parseForTest(byFlag, args...) },
		"variables": func() (*serverConfig, error) { return parseForTest(byVariable) },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse()
			require.NoError(t, err)
			require.NotNil(t, c.certificate)
			require.NotNil(t, c.keys)
			require.Equal(t, settings["TLS_CERT"], c.certificate.certFile)
			require.Equal(t, settings["TLS_KEY"], c.certificate.keyFile)
			require.Equal(t, settings["KEYS"], c.keyFile.path)
			c.certificate, c.keys, c.keyFile = nil, nil, nil
			require.Equal(t, &serverConfig{
				addr: socketAddress{"tcp", "0.0.0.0:99"}, metricsAddr: socketAddress{"unix", "/run/metrics.sock"}, db: "other.db", logJSON: true, maxBody: 1000,
				duplicates: chargeingest.ReturnOriginal, keepUnknown: true, requireReference: true, retain: 9600 * time.Hour, inspector: inspectorOff,
				tokens: tokenConfig{
					jwksURL: "https://login.example/jwks.json", issuer: "https://login.example/", audience: "charges", typ: "at+jwt",
					permissionsClaim: "roles", platformsClaim: "tenants",
				},
				relay: relayConfig{
					url: "https://billing.example/charges", apiKey: "relay-key", platform: "acme", natsFile: "nats.creds", from: relayFromNow,
					nats:  queueAddress{scheme: "nats", user: "u", password: "p", servers: "a:4222,b:4222", topic: "charges.new"},
					kafka: queueAddress{scheme: "kafka+tls", user: "u", password: "p@", servers: "a:9092", topic: "charges", sasl: "plain"},
				},
			}, c)
		})
	}
}

func TestFlagOverridesVariable(t *testing.T) {
	tp := newTestProgram()
	tp.env["CHARGEINGEST_DB"] = "variable.db"
	c, err := parseForTest(tp, "-db", "flag.db")
	require.NoError(t, err)
	require.Equal(t, "flag.db", c.db)
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	_, otherKey := certificateFor(t, "127.0.0.1")
	keys := tenantKeyFile(t)
	// % stands for dir.
	for _, c := range []struct {
		args string
		env  string
		line string
	}{
		{args: "-addr localhost", line: `-addr: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, or unix:PATH, not "localhost"`},
		{args: "-addr localhost:http", line: `-addr: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, or unix:PATH, not "localhost:http"`},
		{args: "-addr :65536", line: `-addr: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, or unix:PATH, not ":65536"`},
		{env: "CHARGEINGEST_ADDR=8080", line: `CHARGEINGEST_ADDR: must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, or unix:PATH, not "8080"`},
		{args: "-addr unix:charges.sock", line: `-addr: must be unix:PATH with an absolute path of at most 107 bytes, not "unix:charges.sock"`},
		{args: "-addr unix:", line: `-addr: must be unix:PATH with an absolute path of at most 107 bytes, not "unix:"`},
		{args: "-addr unix:@charges", line: `-addr: must be unix:PATH with an absolute path of at most 107 bytes, not "unix:@charges"`},
		{
			args: "-metrics-addr unix:/" + strings.Repeat("a", 107),
			line: `-metrics-addr: must be unix:PATH with an absolute path of at most 107 bytes, not "unix:/` + strings.Repeat("a", 107) + `"`,
		},
		{env: "CHARGEINGEST_ADDR=unix:/run/charges.sock\n", line: `CHARGEINGEST_ADDR: must not have control characters such as a line break, but is "/run/charges.sock\n"`},
		{args: "-db=", line: "-db: must not be empty"},
		{env: "CHARGEINGEST_DB=", line: "CHARGEINGEST_DB: must not be empty"},
		{args: "-api-key=", line: "-api-key: must not be empty"},
		{env: "CHARGEINGEST_API_KEY=", line: "CHARGEINGEST_API_KEY: must not be empty"},
		{env: "CHARGEINGEST_API_KEY=top secret", line: "CHARGEINGEST_API_KEY: must be visible ASCII characters, without spaces"},
		{args: "-api-key", line: "flag needs an argument: -api-key; -help lists the options"},
		{args: "-keys %/none.json", line: "-keys: open %/none.json: no such file or directory"},
		{env: "CHARGEINGEST_KEYS=%/none.json", line: "CHARGEINGEST_KEYS: open %/none.json: no such file or directory"},
		{args: "-log-format xml", line: `-log-format: must be text or json, not "xml"`},
		{env: "CHARGEINGEST_LOG_FORMAT=TEXT", line: `CHARGEINGEST_LOG_FORMAT: must be text or json, not "TEXT"`},
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
		{args: "-sandbox -retain 400d", line: "-retain cannot be used with -sandbox"},
		{args: "-sandbox -metrics-addr :0", line: "-metrics-addr cannot be used with -sandbox"},
		{args: "-sandbox -tls-key " + keyFile + " -tls-cert " + certFile, line: "-tls-cert and -tls-key cannot be used with -sandbox"},
		{args: "-sandbox -keys " + keys, line: "-keys cannot be used with -sandbox"},
		{args: "-sandbox", env: "CHARGEINGEST_JWKS_URL=https://h", line: "-jwks-url and -jwt-… cannot be used with -sandbox"},
		{args: "-sandbox -profile none", line: `-profile: must be contract or vendor, not "none"`},
		{args: "-profile vendor", line: "-sandbox-remote and -profile require -sandbox"},
		{args: "-sandbox-remote", line: "-sandbox-remote and -profile require -sandbox"},
		{args: "-inspector yes", line: `-inspector: must be on or off, not "yes"`},
		{args: "-jwks-url=", line: "-jwks-url: must not be empty"},
		{args: "-jwks-url https://h", line: "-jwks-url requires -jwt-audience: without it, tokens for other services would be accepted"},
		{args: "-jwt-issuer i", line: "options that start with -jwt require -jwks-url"},
		{env: "CHARGEINGEST_JWT_PLATFORM=p", line: "options that start with -jwt require -jwks-url"},
		{args: "-jwks-url https://h -jwt-audience a -jwt-platform p -jwt-platforms-claim c", line: "-jwt-platform and -jwt-platforms-claim must not be given together"},
		{args: "-jwks-url http://u:secret@h -jwt-audience a", line: "-jwks-url, -jwt-platform: jwtauth: Config.JWKSURL must be an https URL, or an http URL on a loopback address, without user and fragment"},
		{args: "-port 80", line: "flag provided but not defined: -port; -help lists the options"},
		{args: "file", line: `unexpected argument "file"; -help lists the options`},
		{args: "-db memory load", line: `unexpected argument "load"; -help lists the options`},
		{args: "-- -addr", line: `unexpected argument "-addr"; -help lists the options`},
	} {
		t.Run(c.args+" "+c.env, func(t *testing.T) {
			tp := newTestProgram()
			in := strings.NewReplacer("%", dir)
			if name, value, ok := strings.Cut(c.env, "="); ok {
				tp.env[name] = in.Replace(value)
			}
			status := tp.run(context.Background(), strings.Fields(in.Replace(c.args)))
			require.Equal(t, "chargeingest: "+in.Replace(c.line)+"\n", tp.log.String())
			require.Equal(t, 2, status)
			require.Empty(t, tp.out.String())
		})
	}
}

func TestUsageErrorCreatesNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	require.Equal(t, 2, newTestProgram().run(context.Background(), []string{"-log-format", "xml"}))
	files, err := filepath.Glob("*")
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"-help", "-h", "--help"} {
		tp := newTestProgram()
		require.Equal(t, 0, tp.run(context.Background(), []string{arg}))
		require.Empty(t, tp.log.String())
		for _, o := range serverCommand(new(serverConfig), new(keyConfig), new(certificate)).Options {
			if o.Env == "" {
				require.Contains(t, tp.out.String(), "  "+strings.TrimSpace("-"+o.Name+" "+o.Argument)+"\n")
				continue
			}
			require.Contains(t, tp.out.String(), "  -"+o.Name+" "+o.Argument+"  (or "+o.Env+")\n")
			require.Equal(t, "CHARGEINGEST_"+strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_")), o.Env)
		}
	}
}

package main

import (
	"cmp"
	"io"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/userpath"
)

const (
	inMemory  = "memory"
	defaultDB = "charges.db"
)

const maxBodyLimit = 1 << 30

type serverConfig struct {
	addr             socketAddress
	metricsAddr      socketAddress
	db               string
	logJSON          bool
	maxBody          int64
	certificate      *certificate // nil without TLS
	duplicates       chargeingest.DuplicatePolicy
	keepUnknown      bool
	requireReference bool
	retain           time.Duration // 0 keeps all events
	inspector        inspectorMode
	relay            relayConfig
	sandbox          sandboxConfig
	tokens           tokenConfig
	keys             *chargeingest.Keys // nil if only tokens are accepted
	keyFile          *keyConfig         // nil without -keys
	generatedKey     string
}

// parseServerConfig returns errors of [cli.Command.Parse], which contain no key.
func parseServerConfig(args []string, lookupEnv func(string) (string, bool), out io.Writer) (*serverConfig, error) {
	var c serverConfig
	var keys keyConfig
	var pair certificate
	arguments, err := serverCommand(&c, &keys, &pair).Parse(args, lookupEnv, out)
	if err != nil {
		return nil, err
	}
	if len(arguments) > 0 {
		return nil, cli.Usagef("unexpected argument %q; -help lists the options", arguments[0])
	}
	if (pair.certFile == "") != (pair.keyFile == "") {
		return nil, cli.Usagef("-tls-cert and -tls-key must be given together")
	}
	if pair.certFile != "" {
		if err := pair.read(); err != nil {
			return nil, cli.Usagef("%w", err)
		}
		c.certificate = &pair
	}
	if err := c.checkSandbox(&keys, &pair); err != nil {
		return nil, cli.Usagef("%w", err)
	}
	switch {
	case c.db == "" && c.sandbox.enabled:
		c.db = inMemory
	case c.db == "":
		c.db = defaultDB
	}
	if c.retain > 0 && c.db == inMemory {
		return nil, cli.Usagef("-retain needs -db with a file or PostgreSQL, not memory")
	}
	if err := cmp.Or(c.tokens.check(), c.relay.check()); err != nil {
		return nil, cli.Usagef("%w", err)
	}
	keys.optional = c.tokens.jwksURL != ""
	if c.keys, c.generatedKey, err = keys.authorizer(); err != nil {
		return nil, cli.Usagef("%w", err)
	}
	if c.sandbox.enabled {
		c.sandbox.key = cmp.Or(keys.apiKey, c.generatedKey)
	}
	if keys.path != "" {
		c.keyFile = &keys
	}
	return &c, nil
}

const serverAbout = `Receives charge events over HTTP and stores them. Prints its URL, a link to the
inspector, a generated API key and a curl command that sends an event to standard
output, and logs to standard error.

/livez reports whether the server is running, /readyz whether it accepts events, and
/metrics serves metrics for Prometheus. None of them requires a credential.

SIGINT or SIGTERM stops the server once every completely received request has its
response. A second signal stops it at once. The server keeps running if its log cannot
be written.

SIGHUP reads the files of -keys, -tls-cert and -tls-key again. So does a change of a
file, within four seconds. If the new content is not valid, the previous one stays in
use, and the reason is logged.

The server accepts up to two sockets from systemd: one named metrics
(FileDescriptorName=) in place of -metrics-addr, and one with any other name in place
of -addr, which must then not be set. With Type=notify or notify-reload, systemd learns
when the server is ready, reloads and stops.

With -sandbox the program is a server for tests, which loses responses and events on
demand. It must not receive real events.

If none of -api-key, -keys and -jwks-url is set, the server generates an API key at
each start. If several are set, it accepts the credentials of each.

Exit status: 0 after a signal, 1 after a failure, 2 for an invalid option.`

const programName = "chargeingest"

func serverCommand(c *serverConfig, keys *keyConfig, pair *certificate) *cli.Command {
	return &cli.Command{
		Synopsis: programName,
		About:    serverAbout,
		Options: append([]cli.Option{
			{
				Name: "addr", Env: "CHARGEINGEST_ADDR", Argument: "ADDRESS",
				Usage: "HOST:PORT to listen on (without HOST: all interfaces; port 0: any free port), or unix:PATH for a unix\n" +
					"socket that the server's user and group can use (default " + defaultAddr.address + ")",
				Set: listenAddress(&c.addr),
			},
			{
				Name: "metrics-addr", Env: "CHARGEINGEST_METRICS_ADDR", Argument: "ADDRESS",
				Usage: "serve /metrics at this HOST:PORT or unix:PATH, over http, instead of at -addr, where every client can read it",
				Set:   listenAddress(&c.metricsAddr),
			},
			{
				Name: "db", Env: "CHARGEINGEST_DB", Argument: "PATH",
				Usage: "SQLite file, created if it does not exist; or a PostgreSQL database: postgres://user@host/name or\n" +
					"host=… user=… dbname=…, with the password in PGPASSWORD or a password file; or memory, which\n" +
					"keeps events only while the server runs (default " + defaultDB + ", or memory with -sandbox)",
				Set: database(&c.db),
			},
			{
				Name: "retain", Env: "CHARGEINGEST_RETAIN", Argument: "AGE",
				Usage: "delete events that were received more than this many days (400d) or hours (36h) ago, with their\n" +
					"idempotency keys; their references can then be used again, so a late retry would be billed twice;\n" +
					"by default all events are kept",
				Set: retainAge(&c.retain),
			},
			{
				Name: "api-key", Env: "CHARGEINGEST_API_KEY", Argument: "KEY",
				Usage: "API key with all permissions on the platform \"" + chargeingest.DefaultPlatform +
					"\"; prefer the environment variable, because\nother users can read command lines",
				Set: cli.Secret(&keys.apiKey),
			},
			{Name: "keys", Env: "CHARGEINGEST_KEYS", Argument: "FILE", Usage: keysUsage, Set: keys.readFile},
			{
				Name: "inspector", Env: "CHARGEINGEST_INSPECTOR", Argument: "MODE",
				Usage: "on or off: the page /inspector/, which shows stored events and the latest requests with their bodies\n" +
					"to callers with METER_DATA.VIEW; by default it is on if -addr is a loopback address and there are API keys",
				Set: cli.OneOf(&c.inspector, cli.Choice[inspectorMode]{Name: "on", Value: inspectorOn},
					cli.Choice[inspectorMode]{Name: "off", Value: inspectorOff}),
			},
			{
				Name: "log-format", Env: "CHARGEINGEST_LOG_FORMAT", Argument: "FORMAT", Default: "text",
				Usage: "text or json",
				Set:   cli.OneOf(&c.logJSON, cli.Choice[bool]{Name: "text"}, cli.Choice[bool]{Name: "json", Value: true}),
			},
			{
				Name: "max-body", Env: "CHARGEINGEST_MAX_BODY", Argument: "BYTES", Default: "4194304",
				Usage: "maximum size of a request body, decompressed; it must arrive within a minute",
				Set:   cli.Int(&c.maxBody, 1, maxBodyLimit),
			},
			{
				Name: "tls-cert", Env: "CHARGEINGEST_TLS_CERT", Argument: "FILE",
				Usage: "serve https with this PEM certificate, followed by its chain",
				Set:   filePath(&pair.certFile),
			},
			{
				Name: "tls-key", Env: "CHARGEINGEST_TLS_KEY", Argument: "FILE",
				Usage: "PEM private key of -tls-cert",
				Set:   filePath(&pair.keyFile),
			},
			{
				Name: "duplicates", Env: "CHARGEINGEST_DUPLICATES", Argument: "POLICY", Default: "reject",
				Usage: "response to a known reference with different content: reject (409), or return-original (the\nevent stored first)",
				Set: cli.OneOf(&c.duplicates, cli.Choice[chargeingest.DuplicatePolicy]{Name: "reject", Value: chargeingest.RejectConflict},
					cli.Choice[chargeingest.DuplicatePolicy]{Name: "return-original", Value: chargeingest.ReturnOriginal}),
			},
			{
				Name: "unknown-fields", Env: "CHARGEINGEST_UNKNOWN_FIELDS", Argument: "POLICY", Default: "reject",
				Usage: "fields that the contract does not define: reject (400), or keep (store them unchanged)",
				Set:   cli.OneOf(&c.keepUnknown, cli.Choice[bool]{Name: "reject"}, cli.Choice[bool]{Name: "keep", Value: true}),
			},
			{
				Name: "references", Env: "CHARGEINGEST_REFERENCES", Argument: "POLICY", Default: "optional",
				Usage: "references of events: optional, or required, because an event without one could be billed twice",
				Set:   cli.OneOf(&c.requireReference, cli.Choice[bool]{Name: "optional"}, cli.Choice[bool]{Name: "required", Value: true}),
			},
		}, slices.Concat(c.tokens.options(), c.relay.options(), c.sandbox.options())...),
	}
}

func filePath(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		return userpath.Check(value)
	}
}

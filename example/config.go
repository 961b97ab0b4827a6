package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/logtext"
	"example.com/chargeingest/internal/userpath"
)

// inMemory is the value of -db for a store that keeps nothing.
const inMemory = "memory"

// maxBodyBytes bounds -max-body: more does not arrive within the read time-out,
// and each request in flight needs it in memory.
const maxBodyBytes = 1 << 30

// serverConfig is what the server was told, checked.
type serverConfig struct {
	addr        string
	metricsAddr string // empty for addr
	db          string
	logJSON     bool
	maxBody     int64
	certFile    string
	certificate *tls.Certificate // nil without TLS
	duplicates  chargeingest.DuplicatePolicy
	keepUnknown bool // fields
	required    bool // a reference
	tokens      tokenConfig
	keys        *chargeingest.Keys // nil where only tokens are accepted
	madeKey     string             // the API key that was made because there was no other way in
}

// parseServerConfig reads the command line of the server. Its errors are a
// *usageError or flag.ErrHelp, and never hold a key.
func parseServerConfig(args []string, lookupEnv func(string) (string, bool), out io.Writer) (*serverConfig, error) {
	var c serverConfig
	var given credentials
	var certKeyFile string
	arguments, err := serverCommand(&c, &given, &certKeyFile).parse(args, lookupEnv, out)
	if err != nil {
		return nil, err
	}
	if len(arguments) > 0 {
		return nil, usagef("unexpected argument %q; the commands are load and tail, and come first; -help explains", arguments[0])
	}
	if (c.certFile == "") != (certKeyFile == "") {
		return nil, usagef("-tls-cert and -tls-key must be given together")
	}
	if c.certFile != "" {
		certificate, err := tls.LoadX509KeyPair(c.certFile, certKeyFile)
		if err != nil {
			err = userpath.Explain(certKeyFile, userpath.Explain(c.certFile, err))
			return nil, usagef("-tls-cert, -tls-key: %w", err)
		}
		c.certificate = &certificate
	}
	if err := c.tokens.check(); err != nil {
		return nil, &usageError{err}
	}
	given.dispensable = c.tokens.jwksURL != ""
	if c.keys, c.madeKey, err = given.authorizer(); err != nil {
		return nil, &usageError{err}
	}
	return &c, nil
}

func serverCommand(c *serverConfig, given *credentials, certKeyFile *string) *command {
	return &command{
		synopsis: "example",
		about: `Takes charge events in over HTTP and keeps them. Standard output has the address,
an API key where one was made, and a curl line to try it with; the log goes to
standard error. /livez and /readyz tell whether it is alive and takes events,
/metrics what it does, for Prometheus; none of them asks for a credential.
SIGINT or SIGTERM ends it once every request that was received whole has its
response; a second one ends it at once. SIGHUP is logged and does nothing else. It
goes on if nothing reads its log. Exit status: 0 after a signal, 1 for a failure, 2
for a mistake in the options.

Without -api-key, -keys and -jwks-url a key is made, new at each start. With more
than one of them each is a way in.

Other commands: "example load -help" and "example tail -help".`,
		options: append([]option{
			{"addr", "CHARGEINGEST_ADDR", "HOST:PORT", "127.0.0.1:8080",
				"where to listen; port 0 takes a free one, no host is every address", listenAddress(&c.addr)},
			{"metrics-addr", "CHARGEINGEST_METRICS_ADDR", "HOST:PORT", "",
				"serve /metrics there, over http, and not at -addr, where whoever reaches the endpoint can read it", listenAddress(&c.metricsAddr)},
			{"db", "CHARGEINGEST_DB", "PATH", "charges.db",
				"the SQLite file, made where it is not there; or a database, postgres://user@host/name or\nhost=… user=… dbname=…, whose " +
					"password is better in PGPASSWORD or a password file; or memory, for as long as the server runs", database(&c.db)},
			{"api-key", "CHARGEINGEST_API_KEY", "KEY", "",
				"an API key with all permissions on the platform " + chargeingest.DefaultPlatform +
					"; others can read a command\nline, so the variable is the better place", secret(&given.apiKey)},
			{"keys", "CHARGEINGEST_KEYS", "FILE", "", keysUsage, given.readFile},
			{"log", "CHARGEINGEST_LOG", "FORMAT", "text",
				"text or json", oneOf(&c.logJSON, choice[bool]{"text", false}, choice[bool]{"json", true})},
			{"max-body", "CHARGEINGEST_MAX_BODY", "BYTES", "4194304",
				"the most bytes of a request's body, decompressed; it must arrive within a minute", whole(&c.maxBody, 1, maxBodyBytes)},
			{"tls-cert", "CHARGEINGEST_TLS_CERT", "FILE", "",
				"serve https with this certificate, PEM, with the chain behind it", filePath(&c.certFile)},
			{"tls-key", "CHARGEINGEST_TLS_KEY", "FILE", "",
				"the private key of -tls-cert, PEM", filePath(certKeyFile)},
			{"duplicates", "CHARGEINGEST_DUPLICATES", "POLICY", "reject",
				"what a known reference with other content gets: reject, a 409; or return-original,\nthe event stored first",
				oneOf(&c.duplicates, choice[chargeingest.DuplicatePolicy]{"reject", chargeingest.RejectConflict},
					choice[chargeingest.DuplicatePolicy]{"return-original", chargeingest.ReturnOriginal})},
			{"unknown-fields", "CHARGEINGEST_UNKNOWN_FIELDS", "POLICY", "reject",
				"what becomes of fields that the contract does not name: reject, a 400; or keep, stored as sent",
				oneOf(&c.keepUnknown, choice[bool]{"reject", false}, choice[bool]{"keep", true})},
			{"references", "CHARGEINGEST_REFERENCES", "POLICY", "optional",
				"whether an event must have a reference: optional; or required, as one without could be billed twice",
				oneOf(&c.required, choice[bool]{"optional", false}, choice[bool]{"required", true})},
		}, c.tokens.options()...),
	}
}

// listenAddress takes a host, which may be empty, and a port number.
func listenAddress(dst *string) func(string) error {
	return func(value string) error {
		_, port, err := net.SplitHostPort(value)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, not %q", value)
		}
		*dst = value
		return nil
	}
}

// logger writes to w in the format that was asked for.
func (c *serverConfig) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: boundAttr}
	if c.logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// lostLine is a line about n log lines that could not be written.
func (c *serverConfig) lostLine(n int) []byte {
	var line bytes.Buffer
	c.logger(&line).Warn("lines of this log were lost: they could not be written", "lines", n)
	return line.Bytes()
}

// boundAttr bounds the message and the texts of a log line, so that the line
// stays below 16 KiB. net/http logs a panic with a stack of up to 64 KiB, and the
// errors of a store or a key server can have any length.
func boundAttr(_ []string, a slog.Attr) slog.Attr {
	const maxBytes = 7 << 10 // lines have one or two long texts
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(logtext.Bound(a.Value.String(), maxBytes))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(logtext.Bound(err.Error(), maxBytes))
		}
	}
	return a
}

package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/cli"
)

type relayConfig struct {
	url      string
	apiKey   string
	platform string
	nats     queueAddress
	natsFile string // credentials
	kafka    queueAddress
	from     relayStart
}

type relayStart int

const (
	relayDefault relayStart = iota // the beginning
	relayFromStart
	relayFromNow
)

// queueAddress is SCHEME://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT…]/TOPIC[?sasl=MECHANISM].
type queueAddress struct {
	scheme, user, password string
	servers                string // separated by commas
	topic                  string
	sasl                   string
}

func (c *relayConfig) options() []cli.Option {
	return []cli.Option{
		{
			Name: "relay-url", Env: "CHARGEINGEST_RELAY_URL", Argument: "URL",
			Usage: "deliver the stored events to the charge event endpoint below this URL, with the platform of each event",
			Set:   relayURL(&c.url),
		},
		{
			Name: "relay-api-key", Env: "CHARGEINGEST_RELAY_API_KEY", Argument: "KEY",
			Usage: "API key at -relay-url; prefer the environment variable, because other users can read command lines",
			Set:   cli.Secret(&c.apiKey),
		},
		{
			Name: "relay-platform", Env: "CHARGEINGEST_RELAY_PLATFORM", Argument: "PLATFORM",
			Usage: "platform at -relay-url, if it has another name there; only for a server with one platform",
			Set:   relayPlatform(&c.platform),
		},
		{
			Name: "relay-nats", Env: "CHARGEINGEST_RELAY_NATS", Argument: "URL",
			Usage: "publish the stored events to JetStream, below this subject: nats://HOST:PORT/SUBJECT, or tls://…; more servers\n" +
				"are separated by commas, and USER:PASSWORD@ can precede them: then use the environment variable",
			Set: natsAddress(&c.nats),
		},
		{
			Name: "relay-nats-creds", Env: "CHARGEINGEST_RELAY_NATS_CREDS", Argument: "FILE",
			Usage: "credentials file of NATS",
			Set:   filePath(&c.natsFile),
		},
		{
			Name: "relay-kafka", Env: "CHARGEINGEST_RELAY_KAFKA", Argument: "URL",
			Usage: "produce the stored events to this topic: kafka://HOST:PORT,HOST:PORT/TOPIC, or kafka+tls://…; with\n" +
				"USER:PASSWORD@ in front of the brokers (then use the environment variable), ?sasl=scram-sha-512 (the\n" +
				"default), scram-sha-256 or plain selects the mechanism",
			Set: kafkaAddress(&c.kafka),
		},
		{
			Name: "relay-from", Env: "CHARGEINGEST_RELAY_FROM", Argument: "POSITION",
			Usage: "where a new destination begins: start (the oldest stored event, the default), or now",
			Set: cli.OneOf(&c.from, cli.Choice[relayStart]{Name: "start", Value: relayFromStart},
				cli.Choice[relayStart]{Name: "now", Value: relayFromNow}),
		},
	}
}

func (c *relayConfig) check() error {
	switch {
	case c.url == "" && (c.apiKey != "" || c.platform != ""):
		return errors.New("-relay-api-key and -relay-platform require -relay-url")
	case c.url != "" && c.apiKey == "":
		return errors.New("-relay-url requires -relay-api-key")
	case c.natsFile != "" && c.nats.servers == "":
		return errors.New("-relay-nats-creds requires -relay-nats")
	case c.from != relayDefault && !c.enabled():
		return errors.New("-relay-from requires -relay-url, -relay-nats or -relay-kafka")
	}
	return nil
}

func (c *relayConfig) enabled() bool { return c.url+c.nats.servers+c.kafka.servers != "" }

const maxDestination = 256

// Errors hide values, which may contain a password.
func relayURL(dst *string) func(string) error {
	return func(value string) error {
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
			u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || len(value) > maxDestination {
			return fmt.Errorf("must be an http or https URL such as https://billing.example/charges, without user, query and fragment, of at most %d bytes", maxDestination)
		}
		*dst = strings.TrimRight(value, "/")
		return nil
	}
}

func relayPlatform(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		if strings.ContainsFunc(value, cli.IsTerminalControl) || strings.TrimSpace(value) != value {
			return errors.New("must have no control characters, and no space at its start or end")
		}
		return nil
	}
}

func natsAddress(dst *queueAddress) func(string) error {
	return func(value string) error {
		if dst.parse(value, "nats", "tls") != nil || dst.sasl != "" || dst.password == "" && dst.user != "" || strings.ContainsAny(dst.topic, "*> ") {
			return errors.New("must be nats://HOST:PORT/SUBJECT or tls://HOST:PORT/SUBJECT, without wildcards in the subject, such as nats://127.0.0.1:4222/charges")
		}
		return nil
	}
}

func kafkaAddress(dst *queueAddress) func(string) error {
	return func(value string) error {
		err := dst.parse(value, "kafka", "kafka+tls")
		if dst.sasl == "" && dst.user != "" {
			dst.sasl = "scram-sha-512"
		}
		known := dst.sasl == "" || dst.sasl == "plain" || dst.sasl == "scram-sha-256" || dst.sasl == "scram-sha-512"
		if err != nil || !known || (dst.sasl == "") != (dst.password == "") {
			return errors.New("must be kafka://HOST:PORT/TOPIC or kafka+tls://HOST:PORT/TOPIC, such as kafka://127.0.0.1:9092/charges")
		}
		return nil
	}
}

var errQueueAddress = errors.New("invalid address")

func (a *queueAddress) parse(value string, schemes ...string) error {
	*a = queueAddress{}
	scheme, rest, _ := strings.Cut(value, "://")
	if scheme != schemes[0] && scheme != schemes[1] {
		return errQueueAddress
	}
	authority, path, _ := strings.Cut(rest, "/")
	servers := authority
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		servers = authority[at+1:]
	}
	for server := range strings.SplitSeq(servers, ",") {
		host, port, err := net.SplitHostPort(server)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" {
			return errQueueAddress
		}
	}
	u, err := url.Parse(scheme + "://" + strings.TrimSuffix(authority, servers) + "host/" + path)
	if err != nil {
		return errQueueAddress
	}
	query, err := url.ParseQuery(u.RawQuery)
	topic := strings.TrimPrefix(u.Path, "/")
	if err != nil || u.Fragment != "" || len(query) > 1 || len(query) == 1 && query.Get("sasl") == "" ||
		topic == "" || len(topic) > maxDestination-len("kafka:") || strings.ContainsAny(topic, "/ ") || strings.ContainsFunc(topic, cli.IsTerminalControl) {
		return errQueueAddress
	}
	password, _ := u.User.Password()
	*a = queueAddress{scheme: scheme, user: u.User.Username(), password: password, servers: servers, topic: topic, sasl: query.Get("sasl")}
	return nil
}

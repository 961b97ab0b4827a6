package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRelayUsageErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	const (
		aURL   = "must be an http or https URL such as https://billing.example/charges, without user, query and fragment, of at most 256 bytes"
		aNATS  = "must be nats://HOST:PORT/SUBJECT or tls://HOST:PORT/SUBJECT, without wildcards in the subject, such as nats://127.0.0.1:4222/charges"
		aKafka = "must be kafka://HOST:PORT/TOPIC or kafka+tls://HOST:PORT/TOPIC, such as kafka://127.0.0.1:9092/charges"
		long   = "https://h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" +
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	)
	for option, values := range map[string][]string{
		"-relay-url: " + aURL: {"billing.example", "ftp://h/", "https://", "https://u:secret@h/", "https://h/?key=secret", "https://h/#secret", long},
		"-relay-nats: " + aNATS: {
			"localhost:4222/charges", "nats://localhost/charges", "nats://h:4222", "nats://h:4222/", "nats://h:4222/charges.*", "nats://h:4222/>", "nats://h:0/x",
			"nats://h:4222,/x", "nats://secret@h:4222/x", "nats://u:secret%@h:4222/x", "kafka://h:4222/x", "nats://h:4222/a/b", "nats://h:4222/x?sasl=plain", "nats://h:4222/x#y",
		},
		"-relay-kafka: " + aKafka: {
			"h:9092/x", "h:9092", "kafka://h/x", "kafka://h:9092/", "kafka://u:secret@h:9092/x?sasl=md5", "kafka://h:9092/x?sasl=plain", "kafka://u@h:9092/x",
			"kafka://u:secret@h:9092/x?tls=on", "nats://h:9092/x",
		},
		"-relay-api-key: must be visible ASCII characters, without spaces":                   {"a\nsecret"},
		"-relay-platform: must have no control characters, and no space at its start or end": {" a", "a\n"},
		"-relay-from: must be start or now, not \"yesterday\"":                               {"yesterday"},
	} {
		name, _, _ := strings.Cut(option, ":")
		for _, value := range values {
			requireUsage(t, newTestProgram(), option, name, value)
		}
	}
	for args, line := range map[string]string{
		"-relay-api-key k":                              "-relay-api-key and -relay-platform require -relay-url",
		"-relay-nats nats://h:1/x -relay-platform p":    "-relay-api-key and -relay-platform require -relay-url",
		"-relay-url http://h":                           "-relay-url requires -relay-api-key",
		"-relay-nats-creds f":                           "-relay-nats-creds requires -relay-nats",
		"-relay-from now":                               "-relay-from requires -relay-url, -relay-nats or -relay-kafka",
		"-relay-from start":                             "-relay-from requires -relay-url, -relay-nats or -relay-kafka",
		"-sandbox -relay-url http://h -relay-api-key k": "-relay-… cannot be used with -sandbox",
	} {
		requireUsage(t, newTestProgram(), line, strings.Fields(args)...)
	}
}

func TestDestinationNames(t *testing.T) {
	for args, names := range map[string][]string{
		"": nil,
		"-relay-url http://h/a/ -relay-api-key k":                                                          {"http://h/a"},
		"-relay-url http://h -relay-api-key k -relay-platform p":                                           {"http://h#p"},
		"-relay-kafka kafka://u:p@h:1/t -relay-nats nats://u:p@h:1/s -relay-url http://h -relay-api-key k": {"http://h", "nats:s", "kafka:t"},
	} {
		c, err := parseForTest(newTestProgram(), strings.Fields(args)...)
		require.NoError(t, err)
		require.Equal(t, names, c.relay.names())
	}
	c, err := parseForTest(newTestProgram(), "-relay-kafka", "kafka://u:p@h:1/t")
	require.NoError(t, err)
	require.Equal(t, "scram-sha-512", c.relay.kafka.sasl)
}

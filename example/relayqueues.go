package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/relay/kafkarelay"
	"example.com/chargeingest/relay/natsrelay"
)

func (c *relayConfig) natsDestination(logger *slog.Logger) (d destination, err error) {
	options := []nats.Option{
		nats.Name(programName), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // the relay sends again what fails
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { logger.Warn("NATS failed", "error", err) }),
	}
	if c.nats.user != "" {
		options = append(options, nats.UserInfo(c.nats.user, c.nats.password))
	}
	if c.natsFile != "" {
		if _, err := os.ReadFile(c.natsFile); err != nil {
			return d, cli.Usagef("-relay-nats-creds: %w", err)
		}
		options = append(options, nats.UserCredentials(c.natsFile))
	}
	var servers []string
	for server := range strings.SplitSeq(c.nats.servers, ",") {
		servers = append(servers, c.nats.scheme+"://"+server)
	}
	conn, err := nats.Connect(strings.Join(servers, ","), options...)
	if err != nil {
		return d, fmt.Errorf("-relay-nats: %w", err)
	}
	d.close = conn.Close
	js, err := jetstream.New(conn)
	if err == nil {
		d.sink, err = natsrelay.New(natsrelay.Config{JetStream: js, Subject: c.nats.topic})
	}
	if err != nil {
		conn.Close()
		return d, fmt.Errorf("-relay-nats: %w", err)
	}
	return d, nil
}

func (c *relayConfig) kafkaDestination() (d destination, err error) {
	options := []kgo.Opt{kgo.ClientID(programName), kgo.SeedBrokers(strings.Split(c.kafka.servers, ",")...), kgo.AllowIdempotentProduceCancellation()}
	if c.kafka.scheme == "kafka+tls" {
		options = append(options, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if c.kafka.sasl != "" {
		options = append(options, kgo.SASL(c.kafka.mechanism()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return d, fmt.Errorf("-relay-kafka: %w", err)
	}
	d.close = client.Close
	if d.sink, err = kafkarelay.New(kafkarelay.Config{Client: client, Topic: c.kafka.topic}); err != nil {
		client.Close()
		return d, fmt.Errorf("-relay-kafka: %w", err)
	}
	return d, nil
}

func (a *queueAddress) mechanism() sasl.Mechanism {
	auth := scram.Auth{User: a.user, Pass: a.password}
	switch a.sasl {
	case "plain":
		return plain.Auth{User: a.user, Pass: a.password}.AsMechanism()
	case "scram-sha-256":
		return auth.AsSha256Mechanism()
	}
	return auth.AsSha512Mechanism()
}

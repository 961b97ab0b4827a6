package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

func startNATS(t *testing.T) (address string, messages func() []string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Username: "ada", Password: "secret@nats",
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(20*time.Second))
	conn, err := nats.Connect(s.ClientURL(), nats.UserInfo("ada", "secret@nats"))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CHARGES", Subjects: []string{"charges.*"}})
	require.NoError(t, err)
	return s.Addr().(*net.TCPAddr).String(), func() (all []string) {
		info, err := stream.Info(t.Context())
		require.NoError(t, err)
		for n := info.State.FirstSeq; n > 0 && n <= info.State.LastSeq; n++ {
			m, err := stream.GetMsg(t.Context(), n)
			require.NoError(t, err)
			require.Equal(t, "charges.default", m.Subject)
			all = append(all, string(m.Data))
		}
		return all
	}
}

func startKafka(t *testing.T) (addresses string, next func() string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "charges"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "secret@kafka"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("charges"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SASL(plain.Auth{User: "ada", Pass: "secret@kafka"}.AsMechanism()))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return strings.Join(cluster.ListenAddrs(), ","), func() string {
		fetched := client.PollRecords(t.Context(), 1)
		require.NoError(t, fetched.Err())
		return string(fetched.Records()[0].Value)
	}
}

func TestRelayToQueues(t *testing.T) {
	t.Parallel()
	natsAddress, messages := startNATS(t)
	kafkaAddresses, next := startKafka(t)
	tp := newTestProgram()
	tp.env["CHARGEINGEST_RELAY_NATS"] = "nats://ada:secret%40nats@" + natsAddress + "/charges"
	tp.env["CHARGEINGEST_RELAY_KAFKA"] = "kafka://ada:secret%40kafka@" + kafkaAddresses + "/charges?sasl=plain"
	s := tp.start(t)
	s.sendEvents(t, 1, 2)
	events := s.events(t)
	for _, event := range events {
		require.JSONEq(t, event, next())
	}
	s.awaitStatus(t, `"destination":"nats:charges","platform":"default"`)
	require.Eventually(t, func() bool { return len(messages()) == 2 }, 20*time.Second, time.Millisecond)
	for i, message := range messages() {
		require.JSONEq(t, events[i], message)
	}
	s.stop()
	<-s.done
	require.Zero(t, s.status, s.log)
	require.NotContains(t, s.out.String()+s.log.String(), "secret")
}

package natsrelay_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/relay/natsrelay"
)

type bus struct {
	*testing.T
	options server.Options
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
}

func newBus(t *testing.T, stream *jetstream.StreamConfig) *bus {
	t.Helper()
	b := &bus{T: t, options: server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true, MaxPayload: 4096,
	}}
	b.start()
	t.Cleanup(func() { b.stop() })
	var err error
	b.conn, err = nats.Connect(b.server.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(b.conn.Close)
	b.js, err = jetstream.New(b.conn)
	require.NoError(t, err)
	if stream != nil {
		stream.Name, stream.Subjects = "CHARGES", []string{"charges.*"}
		_, err = b.js.CreateStream(t.Context(), *stream)
		require.NoError(t, err)
	}
	return b
}

func (b *bus) start() {
	s, err := server.NewServer(&b.options)
	require.NoError(b, err)
	s.Start()
	require.True(b, s.ReadyForConnections(10*time.Second))
	b.server, b.options.Port = s, s.Addr().(*net.TCPAddr).Port
}

func (b *bus) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *bus) sink(timeout time.Duration) *natsrelay.Sink {
	s, err := natsrelay.New(natsrelay.Config{JetStream: b.js, Subject: "charges", Timeout: timeout})
	require.NoError(b, err)
	return s
}

func (b *bus) messages() []*jetstream.RawStreamMsg {
	stream, err := b.js.Stream(b.Context(), "CHARGES")
	require.NoError(b, err)
	info := stream.CachedInfo()
	var list []*jetstream.RawStreamMsg
	for i := range info.State.LastSeq {
		m, err := stream.GetMsg(b.Context(), i+1)
		require.NoError(b, err)
		list = append(list, m)
	}
	return list
}

func events(ids ...string) (list []chargeingest.StoredEvent) {
	for _, id := range ids {
		list = append(list, chargeingest.StoredEvent{ID: id, Content: `{"reference":"` + id + `"}`})
	}
	return list
}

func outcomes(results []relay.Result) (list []relay.Outcome) {
	for _, r := range results {
		list = append(list, r.Outcome)
	}
	return list
}

const (
	unsent    = relay.Unsent
	delivered = relay.Delivered
	repeated  = relay.Repeated
	rejected  = relay.Rejected
)

func TestSend(t *testing.T) {
	b := newBus(t, &jetstream.StreamConfig{})
	s := b.sink(0)
	const strange = "a.b *>%é"
	results, err := s.Send(t.Context(), "acme", events("chda_1", "chda_2"))
	require.NoError(t, err)
	require.Equal(t, []relay.Outcome{delivered, delivered}, outcomes(results))
	results, err = s.Send(t.Context(), "acme", events("chda_2", "chda_3"))
	require.NoError(t, err)
	require.Equal(t, []relay.Outcome{repeated, delivered}, outcomes(results))
	results, err = s.Send(t.Context(), strange, events("chda_4"))
	require.NoError(t, err)
	require.Equal(t, []relay.Outcome{delivered}, outcomes(results))

	messages := b.messages()
	require.Len(t, messages, 4)
	require.Equal(t, "charges.acme", messages[1].Subject)
	require.Equal(t, "chda_2", messages[1].Header.Get("Nats-Msg-Id"))
	require.JSONEq(t, `{"object_type":"CHARGE_DATA","id":"chda_2","reference":"chda_2"}`, string(messages[1].Data))
	require.Equal(t, "charges.a%2Eb%20%2A%3E%25%C3%A9", messages[3].Subject)
	token, _ := strings.CutPrefix(messages[3].Subject, "charges.")
	platform, err := url.PathUnescape(token)
	require.NoError(t, err)
	require.Equal(t, strange, platform)
}

func TestRejections(t *testing.T) {
	b := newBus(t, &jetstream.StreamConfig{MaxMsgSize: 1024})
	list := events("chda_1", "chda_2", "chda_3", "chda_4", "chda_5")
	list[1].Content = `{"a":"` + strings.Repeat("x", 2000) + `"}`
	list[2].Content = `{"a":"` + strings.Repeat("x", 5000) + `"}`
	list[3].Content = ""
	for _, outcome := range []relay.Outcome{delivered, repeated} {
		results, err := b.sink(0).Send(t.Context(), "p", list)
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{outcome, rejected, rejected, rejected, outcome}, outcomes(results))
		require.Equal(t, "TOO_LARGE", results[1].Reason.Code)
		require.Equal(t, "TOO_LARGE", results[2].Reason.Code)
	}
	results, err := b.sink(0).Send(t.Context(), "p", list[2:3])
	require.NoError(t, err)
	require.Equal(t, []relay.Outcome{rejected}, outcomes(results))
	require.Len(t, b.messages(), 2)
}

func TestDestinationDown(t *testing.T) {
	full := jetstream.StreamConfig{MaxMsgs: 1, Discard: jetstream.DiscardNew}
	for _, c := range []struct {
		name    string
		stream  *jetstream.StreamConfig
		prepare func(*bus)
		problem string
	}{
		{"no stream", nil, nil, "no response from stream"},
		{"a full stream", &full, func(b *bus) {
			_, err := b.sink(0).Send(b.Context(), "p", events("chda_0"))
			require.NoError(b, err)
		}, "maximum messages exceeded"},
		{"a sealed stream", &jetstream.StreamConfig{Sealed: false}, func(b *bus) {
			_, err := b.js.UpdateStream(b.Context(), jetstream.StreamConfig{Name: "CHARGES", Subjects: []string{"charges.*"}, Sealed: true})
			require.NoError(b, err)
		}, "sealed"},
		{"no acknowledgement", &jetstream.StreamConfig{NoAck: true}, nil, "timeout"},
		{"a stopped server", &jetstream.StreamConfig{}, func(b *bus) { b.stop() }, ""},
		{"a closed connection", &jetstream.StreamConfig{}, func(b *bus) { b.conn.Close() }, "connection closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBus(t, c.stream)
			if c.prepare != nil {
				c.prepare(b)
			}
			results, err := b.sink(100*time.Millisecond).Send(t.Context(), "p", events("chda_1", "chda_2"))
			require.Error(t, err)
			require.ErrorContains(t, err, c.problem)
			require.Nil(t, results)
			var batch *relay.BatchError
			require.NotErrorAs(t, err, &batch)
		})
	}
	t.Run("the context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		b := newBus(t, &jetstream.StreamConfig{NoAck: true})
		_, err := b.sink(0).Send(ctx, "p", events("chda_1"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	t.Run("a platform that is too long", func(t *testing.T) {
		b := newBus(t, &jetstream.StreamConfig{})
		_, err := b.sink(0).Send(t.Context(), strings.Repeat("é", 400), events("chda_1"))
		require.ErrorContains(t, err, "subject")
	})
}

func TestFullInTheMiddle(t *testing.T) {
	b := newBus(t, &jetstream.StreamConfig{MaxMsgs: 2, Discard: jetstream.DiscardNew})
	results, err := b.sink(0).Send(t.Context(), "p", events("chda_1", "chda_2", "chda_3", "chda_4"))
	require.NoError(t, err)
	require.Equal(t, []relay.Outcome{delivered, delivered, unsent, unsent}, outcomes(results))
}

func TestConfigErrors(t *testing.T) {
	b := newBus(t, nil)
	for _, c := range []struct {
		field string
		cfg   natsrelay.Config
	}{
		{"JetStream", natsrelay.Config{Subject: "charges"}},
		{"Subject", natsrelay.Config{JetStream: b.js}},
		{"Subject", natsrelay.Config{JetStream: b.js, Subject: "charges."}},
		{"Subject", natsrelay.Config{JetStream: b.js, Subject: "charges.*"}},
		{"Subject", natsrelay.Config{JetStream: b.js, Subject: "cha rges"}},
		{"Timeout", natsrelay.Config{JetStream: b.js, Subject: "charges", Timeout: -1}},
	} {
		_, err := natsrelay.New(c.cfg)
		require.ErrorContains(t, err, "Config."+c.field)
	}
}

func TestNotConnectedYet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	conn, err := nats.Connect("nats://"+l.Addr().String(), nats.RetryOnFailedConnect(true))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	s, err := natsrelay.New(natsrelay.Config{JetStream: js, Subject: "charges"})
	require.NoError(t, err)
	_, err = s.Send(t.Context(), "acme", events("chda_1"))
	require.EqualError(t, err, "natsrelay: charges.acme: not connected yet")
}

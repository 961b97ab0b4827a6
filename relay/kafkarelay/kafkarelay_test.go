package kafkarelay_test

import (
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/relay/kafkarelay"
)

type broker struct {
	*testing.T
	options []kfake.Opt
	cluster *kfake.Cluster
	client  *kgo.Client
}

func newBroker(t *testing.T, topic string) *broker {
	t.Helper()
	b := &broker{T: t, options: []kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(3, topic), kfake.DataDir(t.TempDir()),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "4096"}),
	}}
	b.start()
	t.Cleanup(func() { b.cluster.Close() })
	_, port, err := net.SplitHostPort(b.cluster.ListenAddrs()[0])
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	b.options = append(b.options, kfake.Ports(number))
	b.client = b.newClient(kgo.AllowIdempotentProduceCancellation())
	return b
}

func (b *broker) start() {
	var err error
	b.cluster, err = kfake.NewCluster(b.options...)
	require.NoError(b, err)
}

func (b *broker) newClient(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.cluster.ListenAddrs()...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.DialTimeout(time.Second))...)
	require.NoError(b, err)
	b.Cleanup(client.Close)
	return client
}

func (b *broker) sink(timeout time.Duration) *kafkarelay.Sink {
	s, err := kafkarelay.New(kafkarelay.Config{Client: b.client, Topic: "charges", Timeout: timeout})
	require.NoError(b, err)
	return s
}

func (b *broker) records(n int) (list []*kgo.Record) {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	client := b.newClient(kgo.ConsumeTopics("charges"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for len(list) < n {
		fetches := client.PollFetches(ctx)
		require.NoError(b, fetches.Err())
		list = append(list, fetches.Records()...)
	}
	return list
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func events(t *testing.T, ids ...string) (list []chargeingest.StoredEvent) {
	t.Helper()
	for _, id := range ids {
		text, err := chargetest.Sample(id).MarshalJSON()
		require.NoError(t, err)
		list = append(list, chargeingest.StoredEvent{ID: id, Content: string(text)})
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
	delivered = relay.Delivered
	rejected  = relay.Rejected
)

func TestSend(t *testing.T) {
	b := newBroker(t, "charges")
	list := events(t, "chda_1", "chda_2")
	for range 2 {
		results, err := b.sink(0).Send(t.Context(), "acme/eu", list)
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{delivered, delivered}, outcomes(results))
	}
	records := b.records(4)
	require.Len(t, records, 4, "Kafka keeps repeats")
	for i, r := range records {
		e := list[i%2]
		text, err := relay.EventJSON(&e)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(r.Value))
		require.Equal(t, "acme%2Feu/customer-sample", string(r.Key))
		require.Equal(t, e.ID, header(r, "event_id"))
		require.Equal(t, "acme/eu", header(r, "platform"))
		require.Equal(t, "1", header(r, "schema_version"))
	}
	results, err := b.sink(0).Send(t.Context(), "p", nil)
	require.NoError(t, err)
	require.Empty(t, results)
}

func TestKey(t *testing.T) {
	for _, c := range []struct {
		want  string
		event chargeingest.ChargeEvent
	}{
		{"p/", chargeingest.ChargeEvent{}},
		{"p/a%2Fb", chargeingest.ChargeEvent{CustomerID: new("a/b"), CustomerReference: new("c")}},
		{"p/c", chargeingest.ChargeEvent{CustomerReference: new("c"), PricingPlanSubscriptionID: new("d")}},
		{"p/d", chargeingest.ChargeEvent{PricingPlanSubscriptionID: new("d"), PricingPlanSubscriptionReference: new("e")}},
		{"p/e", chargeingest.ChargeEvent{PricingPlanSubscriptionReference: new("e")}},
	} {
		require.Equal(t, c.want, kafkarelay.Key("p", &c.event))
	}
}

func TestRejections(t *testing.T) {
	b := newBroker(t, "charges")
	s := b.sink(0)
	list := events(t, "chda_1", "chda_2", "chda_3")
	list[1].Content = `{"a":`
	results, err := s.Send(t.Context(), "p", list)
	require.NoError(t, err)
	require.Equal(t, []relay.Outcome{delivered, rejected, delivered}, outcomes(results))

	source := rand.NewChaCha8([32]byte{})
	enlarge := func(e *chargeingest.StoredEvent, n int) {
		noise := make([]byte, n)
		_, _ = source.Read(noise)
		e.Content = strings.TrimSuffix(e.Content, "}") + `,"x":"` + base64.StdEncoding.EncodeToString(noise) + `"}`
	}
	for name, n := range map[string]int{"for the topic": 6_000, "for the client": 1_500_000} {
		t.Run(name, func(t *testing.T) {
			list := events(t, "chda_1", "chda_2")
			for i := range list {
				enlarge(&list[i], n)
			}
			_, err := s.Send(t.Context(), "p", list)
			var batch *relay.BatchError
			require.ErrorAs(t, err, &batch)
			require.True(t, batch.Permanent)
			results, err := s.Send(t.Context(), "p", list[1:])
			require.NoError(t, err)
			require.Equal(t, []relay.Outcome{rejected}, outcomes(results))
			require.Equal(t, "MESSAGE_TOO_LARGE", results[0].Reason.Code)
		})
	}
}

func TestDestinationDown(t *testing.T) {
	for name, c := range map[string]struct {
		topic   string
		prepare func(*broker)
	}{
		"no topic":      {"others", func(*broker) {}},
		"no broker":     {"charges", func(b *broker) { b.cluster.Close() }},
		"a slow broker": {"charges", func(b *broker) { b.fail(kerr.RequestTimedOut) }},
		"not allowed":   {"charges", func(b *broker) { b.fail(kerr.TopicAuthorizationFailed) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, c.topic)
			c.prepare(b)
			start := time.Now()
			results, err := b.sink(200*time.Millisecond).Send(t.Context(), "p", events(t, "chda_1", "chda_2"))
			require.Error(t, err)
			require.Nil(t, results)
			require.Less(t, time.Since(start), 5*time.Second)
			var batch *relay.BatchError
			require.NotErrorAs(t, err, &batch)
		})
	}
}

func (b *broker) fail(e *kerr.Error) {
	b.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		req, ok := r.(*kmsg.ProduceRequest)
		if !ok {
			return nil, errors.New("not a produce request"), true
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, e.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
}

func TestConfigErrors(t *testing.T) {
	b := newBroker(t, "charges")
	allow := kgo.AllowIdempotentProduceCancellation()
	valid := kafkarelay.Config{Client: b.client, Topic: "charges"}
	for _, c := range []struct {
		want string
		set  func(*kafkarelay.Config)
	}{
		{"Config.Client is required", func(cfg *kafkarelay.Config) { cfg.Client = nil }},
		{"Config.Client must be idempotent", func(cfg *kafkarelay.Config) {
			cfg.Client = b.newClient(allow, kgo.DisableIdempotentWrite())
		}},
		{"Config.Client must be idempotent", func(cfg *kafkarelay.Config) {
			cfg.Client = b.newClient(allow, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
		}},
		{"Config.Client must not be transactional", func(cfg *kafkarelay.Config) { cfg.Client = b.newClient(kgo.TransactionalID("t")) }},
		{"AllowIdempotentProduceCancellation", func(cfg *kafkarelay.Config) { cfg.Client = b.newClient() }},
		{"Config.Topic", func(cfg *kafkarelay.Config) { cfg.Topic = "" }},
		{"Config.Timeout", func(cfg *kafkarelay.Config) { cfg.Timeout = -1 }},
	} {
		cfg := valid
		c.set(&cfg)
		_, err := kafkarelay.New(cfg)
		require.ErrorContains(t, err, c.want)
	}
}

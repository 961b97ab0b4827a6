// Package kafkarelay produces charge events to a Kafka topic.
//
// A record has the event as the endpoint returns it, its [Key], and the headers event_id,
// platform and schema_version ("1").
//
// Records with the same key are first stored in order. Consumers must recognize repeats by
// event_id.
package kafkarelay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// Config configures a [Sink].
type Config struct {
	// Client must be idempotent, not transactional, and have the option
	// kgo.AllowIdempotentProduceCancellation, so that Send can end without a response.
	Client *kgo.Client

	Topic string

	Timeout time.Duration // of a Send; default: 30 seconds
}

const (
	defaultTimeout = 30 * time.Second
	schemaVersion  = "1"
)

// Sink is a [relay.Sink]. It rejects records that are too large. If the topic is missing, the
// destination is down.
type Sink struct{ cfg Config }

var _ relay.Sink = (*Sink)(nil)

// New returns a sink.
func New(cfg Config) (*Sink, error) {
	switch {
	case cfg.Client == nil:
		return nil, errors.New("kafkarelay: Config.Client is required")
	case cfg.Client.OptValue(kgo.DisableIdempotentWrite) != false || cfg.Client.OptValue(kgo.RequiredAcks) != kgo.AllISRAcks():
		return nil, errors.New("kafkarelay: Config.Client must be idempotent, with acks from all in-sync replicas")
	case cfg.Client.OptValue(kgo.TransactionalID) != "":
		return nil, errors.New("kafkarelay: Config.Client must not be transactional")
	case cfg.Client.OptValue(kgo.AllowIdempotentProduceCancellation) != true:
		return nil, errors.New("kafkarelay: Config.Client needs the option AllowIdempotentProduceCancellation")
	case cfg.Topic == "":
		return nil, errors.New("kafkarelay: Config.Topic is required")
	case cfg.Timeout < 0:
		return nil, errors.New("kafkarelay: Config.Timeout must not be negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Sink{cfg}, nil
}

// Key returns platform/customer, each escaped by url.PathEscape. The customer is the first set
// of customer_id, customer_reference, and id and reference of the subscription.
func Key(platform string, e *chargeingest.ChargeEvent) string {
	customer := cmp.Or(e.CustomerID, e.CustomerReference, e.PricingPlanSubscriptionID, e.PricingPlanSubscriptionReference)
	if customer == nil {
		return url.PathEscape(platform) + "/"
	}
	return url.PathEscape(platform) + "/" + url.PathEscape(*customer)
}

// Send implements [relay.Sink].
func (s *Sink) Send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	results := make([]relay.Result, len(events))
	records := make([]*kgo.Record, 0, len(events))
	index := make(map[*kgo.Record]int, len(events))
	decided := false
	for i := range events {
		r, err := s.record(platform, &events[i])
		if err != nil {
			results[i] = relay.Result{Outcome: relay.Rejected, Reason: relay.Reason{Message: err.Error()}}
			decided = true
			continue
		}
		index[r] = i
		records = append(records, r)
	}
	var failed, tooLarge error
	for _, produced := range s.cfg.Client.ProduceSync(ctx, records...) {
		switch err := produced.Err; {
		case err == nil:
			results[index[produced.Record]].Outcome = relay.Delivered
			decided = true
		case errors.Is(err, kerr.MessageTooLarge):
			tooLarge = err
		case failed == nil:
			failed = err
		}
	}
	switch {
	case decided, len(events) == 0:
		return results, nil
	case failed != nil:
		return nil, fmt.Errorf("kafkarelay: %s: %w", s.cfg.Topic, failed)
	}
	reason := relay.Reason{Code: kerr.MessageTooLarge.Message, Message: tooLarge.Error()}
	if len(events) > 1 {
		return nil, &relay.BatchError{Permanent: true, Reason: reason, Err: tooLarge}
	}
	results[0] = relay.Result{Outcome: relay.Rejected, Reason: reason}
	return results, nil
}

func (s *Sink) record(platform string, e *chargeingest.StoredEvent) (*kgo.Record, error) {
	value, err := relay.EventJSON(e)
	if err != nil {
		return nil, err
	}
	ev, err := e.Event()
	if err != nil {
		return nil, err
	}
	return &kgo.Record{
		Topic: s.cfg.Topic,
		Key:   []byte(Key(platform, &ev)),
		Value: value,
		Headers: []kgo.RecordHeader{
			{Key: "event_id", Value: []byte(e.ID)},
			{Key: "platform", Value: []byte(platform)},
			{Key: "schema_version", Value: []byte(schemaVersion)},
		},
	}, nil
}

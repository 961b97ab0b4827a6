// Package natsrelay publishes charge events to a stream of NATS JetStream.
//
// A message has the event as the endpoint returns it, its id as Nats-Msg-Id, and the subject
// Config.Subject, a dot, and the [Token] of the platform.
//
// JetStream drops repeats within the stream's Duplicates window, by default two minutes.
// Consumers must recognize later ones by the id. Events are as durable as the stream.
//
// If the stream fails during a batch, later events can be stored before earlier ones, unless
// BatchSize is 1.
package natsrelay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// Config configures New.
type Config struct {
	JetStream jetstream.JetStream

	Subject string // such as "charges", for a stream with the subjects "charges.*"

	Timeout time.Duration // of an acknowledgement; default: 30 seconds
}

const (
	defaultTimeout   = 30 * time.Second
	maxSubjectLength = 2000 // the protocol's line has 4 KiB
	maxPending       = 1 << 20
)

// Sink is a [relay.Sink]. It rejects messages that are too large. If the stream is missing or
// full, the destination is down.
type Sink struct {
	publisher jetstream.JetStream
	subject   string
}

var _ relay.Sink = (*Sink)(nil)

// New returns a sink.
func New(cfg Config) (*Sink, error) {
	switch {
	case cfg.JetStream == nil:
		return nil, errors.New("natsrelay: Config.JetStream is required")
	case !isSubject(cfg.Subject):
		return nil, errors.New("natsrelay: Config.Subject must be tokens with dots in between, without wildcards and white space")
	case cfg.Timeout < 0:
		return nil, errors.New("natsrelay: Config.Timeout must not be negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	publisher, err := jetstream.New(cfg.JetStream.Conn(),
		jetstream.WithPublishAsyncTimeout(cfg.Timeout), jetstream.WithPublishAsyncMaxPending(maxPending))
	if err != nil {
		return nil, fmt.Errorf("natsrelay: Config.JetStream: %w", err)
	}
	return &Sink{publisher: publisher, subject: cfg.Subject}, nil
}

func isSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
			return false
		}
	}
	return len(s) <= maxSubjectLength/2
}

// Token escapes each byte other than letters, digits, - and _ as in a URL. url.PathUnescape
// reverses it.
func Token(platform string) string {
	var b strings.Builder
	for i := range len(platform) {
		switch c := platform[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Send implements [relay.Sink].
func (s *Sink) Send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
	subject := s.subject + "." + Token(platform)
	if len(subject) > maxSubjectLength {
		return nil, fmt.Errorf("natsrelay: the subject of platform %.40q is longer than %d bytes", platform, maxSubjectLength)
	}
	results := make([]relay.Result, len(events))
	futures := make([]jetstream.PubAckFuture, len(events))
	var failed error
	decided := false
	decide := func(i int, r relay.Result, err error) {
		results[i] = r
		decided = decided || r.Outcome != relay.Unsent
		if failed == nil {
			failed = err
		}
	}
	for i := range events {
		f, err := s.publish(subject, &events[i])
		if err == nil {
			futures[i] = f
			continue
		}
		r, err := judge(err)
		decide(i, r, err)
		if err != nil {
			break
		}
	}
	for i, f := range futures {
		if f != nil {
			r, err := await(ctx, f)
			decide(i, r, err)
		}
	}
	if failed != nil && !decided {
		if errors.Is(failed, nats.ErrHeadersNotSupported) && !s.publisher.Conn().IsConnected() {
			failed = errors.New("not connected yet") // the capabilities of the server are unknown
		}
		return nil, fmt.Errorf("natsrelay: %s: %w", subject, failed)
	}
	return results, nil
}

var errDamaged = errors.New("damaged event")

func (s *Sink) publish(subject string, e *chargeingest.StoredEvent) (jetstream.PubAckFuture, error) {
	data, err := relay.EventJSON(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, e.ID)
	// A retry would change the order.
	return s.publisher.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
}

func await(ctx context.Context, f jetstream.PubAckFuture) (relay.Result, error) {
	select {
	case ack := <-f.Ok():
		if ack.Duplicate {
			return relay.Result{Outcome: relay.Repeated}, nil
		}
		return relay.Result{Outcome: relay.Delivered}, nil
	case err := <-f.Err():
		return judge(err)
	case <-ctx.Done():
		return relay.Result{}, ctx.Err()
	}
}

func judge(err error) (relay.Result, error) {
	reason := relay.Reason{Message: err.Error()}
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		reason.Code = "TOO_LARGE"
	case errors.Is(err, errDamaged):
	default:
		return relay.Result{}, err
	}
	return relay.Result{Outcome: relay.Rejected, Reason: reason}, nil
}

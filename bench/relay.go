package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/sqlitestore"
)

const (
	backendRelay     = "relay"
	backendRelaySink = "sink of the relay"

	relayBatch = 50
)

func checkReceived(received, sent tally) error {
	if received != sent {
		return fmt.Errorf("%w: sent %v, received %v", errMismatch, sent, received)
	}
	return nil
}

func newRelaySink(address string) (*relay.HTTP, error) {
	return relay.NewHTTP(relay.HTTPConfig{URL: "http://" + address, APIKey: apiKey})
}

type runningRelay struct {
	*relay.Relay
	store *sqlitestore.Store
	stop  context.CancelFunc
	done  chan error
}

func startRelay(store *sqlitestore.Store, address string, observer func(relay.Observation)) (*runningRelay, error) {
	sink, err := newRelaySink(address)
	if err != nil {
		return nil, err
	}
	r := &runningRelay{store: store, done: make(chan error, 1)}
	r.Relay, err = relay.New(relay.Config{
		Name: address, Source: store, Journal: store.Journal(), Sink: sink, BatchSize: relayBatch, Observer: observer,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.done <- r.Run(ctx) }()
	return r, nil
}

func (r *runningRelay) finish() error {
	const pause = 5 * time.Millisecond
	var lag int64 = -1
	for deadline := time.Now().Add(stopTimeout / 2); lag != 0 && time.Now().Before(deadline); time.Sleep(pause) {
		streams, err := r.store.Journal().Status(context.Background(), chargeingest.DefaultPlatform)
		if err != nil {
			return err
		}
		for _, s := range streams {
			lag = s.Lag
		}
	}
	r.stop()
	if err := <-r.done; err != nil {
		return err
	}
	if lag != 0 {
		return fmt.Errorf("the relay has %d events left", lag)
	}
	return nil
}

// openRelayed notifies the relay of each request, as the server does.
func openRelayed(store *sqlitestore.Store, destination string) (*service, error) {
	r, err := startRelay(store, destination, nil)
	if err != nil {
		return nil, err
	}
	keys, err := newKeys()
	if err != nil {
		return nil, err
	}
	h, err := chargeingest.New(chargeingest.Config{
		Store: store, Authorizer: keys,
		Observer: func(_ context.Context, o chargeingest.RequestStats) { r.Notify(o.Platform) },
	})
	return &service{Handler: h, close: func() error { return errors.Join(r.finish(), store.Close()) }}, err
}

type relaySpec struct {
	workload
	Database    string
	Destination string
	Events      int
	SinkOnly    bool
}

type relayer struct {
	relaySpec
	store   *sqlitestore.Store
	stored  tally
	batches [][]chargeingest.StoredEvent
}

func newRelayer(ctx context.Context, spec relaySpec) (*relayer, error) {
	store, err := sqlitestore.Open(ctx, spec.Database)
	if err != nil {
		return nil, err
	}
	r := &relayer{relaySpec: spec, store: store}
	err = r.fill(ctx)
	if err == nil && spec.SinkOnly {
		err = r.readBatches(ctx)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *relayer) close() { _ = r.store.Close() }

func (r *relayer) fill(ctx context.Context) error {
	events, err := newEventSource(ctx, r.workload)
	if err != nil {
		return err
	}
	for left := r.Events; left > 0; left -= transactionEvents {
		made, err := events.next(min(left, transactionEvents), &r.stored)
		if err != nil {
			return err
		}
		b := chargeingest.Batch{Platform: chargeingest.DefaultPlatform, Route: chargeingest.RouteBatch}
		for _, e := range made {
			b.Events = append(b.Events, e.NewEvent)
		}
		if _, err := r.store.Append(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (r *relayer) readBatches(ctx context.Context) error {
	q := chargeingest.Query{Platform: chargeingest.DefaultPlatform, Order: chargeingest.Ascending, Limit: relayBatch}
	for {
		page, err := r.store.List(ctx, q)
		if err != nil {
			return err
		}
		r.batches = append(r.batches, page.Events)
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}

func (r *relayer) run(ctx context.Context) (outcome, error) {
	deliver := r.catchUp
	if r.SinkOnly {
		deliver = r.sendBatches
	}
	latency := newHistogram()
	begin := time.Now()
	end, err := deliver(ctx, func(sent time.Duration) { _ = latency.RecordValue(int64(sent)) })
	if err != nil {
		return outcome{}, err
	}
	return outcome{Acknowledged: r.stored, Rate: float64(r.Events) / end.Sub(begin).Seconds(), Latency: percentiles(latency)}, nil
}

func (r *relayer) catchUp(ctx context.Context, record func(time.Duration)) (end time.Time, err error) {
	var delivered int
	caughtUp := make(chan time.Time, 1)
	running, err := startRelay(r.store, r.Destination, func(o relay.Observation) {
		record(o.Duration)
		if delivered += o.Delivered + o.Repeated; delivered == r.Events {
			caughtUp <- time.Now()
		}
	})
	if err != nil {
		return end, err
	}
	select {
	case end = <-caughtUp:
	case <-ctx.Done():
	}
	return end, running.finish()
}

func (r *relayer) sendBatches(ctx context.Context, record func(time.Duration)) (end time.Time, err error) {
	sink, err := newRelaySink(r.Destination)
	if err != nil {
		return end, err
	}
	for _, events := range r.batches {
		begin := time.Now()
		results, err := sink.Send(ctx, chargeingest.DefaultPlatform, events)
		if err != nil {
			return end, err
		}
		for _, result := range results {
			if result.Outcome != relay.Delivered {
				return end, errors.New("an event was not delivered")
			}
		}
		record(time.Since(begin))
	}
	return time.Now(), nil
}

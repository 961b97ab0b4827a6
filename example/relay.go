package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/sqlitestore"
)

type journal interface {
	relay.Journal
	relay.Ledger
}

func journalOf(s store) (journal, error) {
	switch s := s.(type) {
	case *memstore.Store:
		return s.Journal(), nil
	case *sqlitestore.Store:
		return s.Journal(), nil
	case postgres:
		return s.Journal(), nil
	}
	return nil, errors.New("the store has no journal for a relay")
}

type destination struct {
	name  string
	sink  relay.Sink
	close func()
}

type relays struct {
	journal      journal
	destinations []destination
	relays       []*relay.Relay
	logger       *slog.Logger
}

func newRelays(ctx context.Context, cfg *relayConfig, events store, tune func(*relay.Config), logger *slog.Logger) (*relays, error) {
	r := &relays{logger: logger}
	if !cfg.enabled() {
		return r, nil
	}
	if err := cfg.checkPlatforms(ctx, events); err != nil {
		return nil, err
	}
	if err := r.connect(cfg, events, tune); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *relays) connect(cfg *relayConfig, events store, tune func(*relay.Config)) (err error) {
	if r.journal, err = journalOf(events); err != nil {
		return err
	}
	if r.destinations, err = cfg.destinations(r.logger); err != nil {
		return err
	}
	var start relay.Start
	if cfg.from == relayFromNow {
		start = relay.FromNow()
	}
	for _, d := range r.destinations {
		c := relay.Config{Name: d.name, Source: events, Journal: r.journal, Sink: d.sink, Start: start, Logger: r.logger}
		tune(&c)
		one, err := relay.New(c)
		if err != nil {
			return fmt.Errorf("relay to %s: %w", d.name, err)
		}
		r.relays = append(r.relays, one)
	}
	return nil
}

func (c *relayConfig) checkPlatforms(ctx context.Context, events store) error {
	lister, ok := events.(relay.PlatformLister)
	if c.platform == "" || !ok {
		return nil
	}
	platforms, err := lister.Platforms(ctx, "", 2)
	if err != nil {
		return err
	}
	if len(platforms) > 1 {
		return cli.Usagef("-relay-platform: must not be set, because the database has events of several platforms, such as %q and %q", platforms[0], platforms[1])
	}
	return nil
}

func (c *relayConfig) destinations(logger *slog.Logger) (all []destination, err error) {
	connect := []func() (destination, error){}
	if c.url != "" {
		connect = append(connect, c.httpDestination)
	}
	if c.nats.servers != "" {
		connect = append(connect, func() (destination, error) { return c.natsDestination(logger) })
	}
	if c.kafka.servers != "" {
		connect = append(connect, c.kafkaDestination)
	}
	for i, name := range c.names() {
		d, err := connect[i]()
		if err != nil {
			return all, err
		}
		d.name = name
		all = append(all, d)
	}
	return all, nil
}

func (c *relayConfig) httpDestination() (destination, error) {
	sink, err := relay.NewHTTP(relay.HTTPConfig{URL: c.url, APIKey: c.apiKey, Platform: c.platform})
	if err != nil {
		return destination{}, fmt.Errorf("-relay-url: %w", err)
	}
	return destination{sink: sink, close: func() {}}, nil
}

func (c *relayConfig) names() (all []string) {
	switch {
	case c.platform != "":
		all = append(all, c.url+"#"+c.platform)
	case c.url != "":
		all = append(all, c.url)
	}
	if c.nats.topic != "" {
		all = append(all, "nats:"+c.nats.topic)
	}
	if c.kafka.topic != "" {
		all = append(all, "kafka:"+c.kafka.topic)
	}
	return all
}

func (r *relays) stats() map[string]func() relay.Stats {
	all := make(map[string]func() relay.Stats)
	for i, one := range r.relays {
		all[r.destinations[i].name] = one.Stats
	}
	return all
}

func (r *relays) observe(o chargeingest.RequestStats) {
	if o.Events > o.Replayed && (o.Route == chargeingest.RouteSingle || o.Route == chargeingest.RouteBatch) {
		for _, one := range r.relays {
			one.Notify(o.Platform)
		}
	}
}

func (r *relays) api(a chargeingest.Authorizer) (http.Handler, error) {
	if len(r.relays) == 0 {
		return nil, nil
	}
	h, err := relay.NewAPI(relay.APIConfig{Ledger: r.journal, Authorizer: a, Logger: r.logger})
	return http.StripPrefix("/relay", h), err
}

// start delivers events until ctx ends or stop is called, which waits for at most the grace.
func (r *relays) start(ctx context.Context, grace time.Duration) (stop func() error) {
	if len(r.relays) == 0 {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for i, one := range r.relays {
		name := r.destinations[i].name
		r.logger.Info("relaying events", "destination", name)
		running.Go(func() { r.run(ctx, name, one) })
	}
	late := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(late) }) })
	return func() error {
		cancel()
		ended := make(chan struct{})
		go func() {
			running.Wait()
			close(ended)
		}()
		defer r.close()
		select {
		case <-ended:
			return nil
		case <-late:
			return fmt.Errorf("the relay did not end within %s; events in flight may be delivered again", grace)
		}
	}
}

func (r *relays) run(ctx context.Context, name string, one *relay.Relay) {
	err := one.Run(ctx)
	if err == nil {
		return
	}
	level := slog.LevelWarn
	if ctx.Err() == nil {
		level = slog.LevelError
	}
	r.logger.Log(context.WithoutCancel(ctx), level, "relay ended", "destination", name, "error", err)
}

func (r *relays) close() {
	for _, d := range r.destinations {
		d.close()
	}
}

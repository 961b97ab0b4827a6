package pgstore

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// stopping is a tracer that blocks scans until gate is closed.
type stopping struct {
	gate    chan struct{}
	stopped atomic.Int64
}

func (s *stopping) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if strings.Contains(d.SQL, "WINDOW page") && strings.Contains(d.SQL, "product_item_id =") {
		s.stopped.Add(1)
		<-s.gate
		s.stopped.Add(-1)
	}
	return ctx
}

func (s *stopping) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func scanOf(platform string) chargeingest.Query {
	return chargeingest.Query{Platform: platform, ProductItemID: "p", Limit: 10}
}

func TestScansLeaveConnectionsFree(t *testing.T) {
	tracer := &stopping{gate: make(chan struct{})}
	pool := newPool(t, func(c *pgxpool.Config) {
		c.MaxConns = 4
		c.ConnConfig.Tracer = tracer
	})
	s := newStore(t, pool, Options{ScanTimeout: time.Minute, AcquireTimeout: time.Minute})
	release := sync.OnceFunc(func() { close(tracer.gate) })
	t.Cleanup(release)
	ids, _ := appended(t, s, charges("acme", "a"))
	var scans sync.WaitGroup
	for range 64 {
		scans.Go(func() {
			_, err := s.List(t.Context(), scanOf("evil"))
			require.NoError(t, err)
		})
	}
	stopped := func(n int64) {
		require.Eventually(t, func() bool { return tracer.stopped.Load() == n }, 10*time.Second, time.Millisecond)
	}
	stopped(1) // a platform gets only one of two turns
	scans.Go(func() {
		_, err := s.List(t.Context(), scanOf("acme"))
		require.NoError(t, err)
	})
	stopped(2)

	appended(t, s, charges("acme", "b"))
	_, err := s.Get(t.Context(), "acme", ids[0])
	require.NoError(t, err)
	require.Len(t, listed(t, s, "acme"), 2)
	require.NoError(t, s.Ready(t.Context()))
	require.Equal(t, int64(2), tracer.stopped.Load())
	release()
	scans.Wait()
}

func TestTurnTimeouts(t *testing.T) {
	tracer := &stopping{gate: make(chan struct{})}
	pool := newPool(t, func(c *pgxpool.Config) {
		c.MaxConns = 2
		c.ConnConfig.Tracer = tracer
	})
	patient := newStore(t, pool, Options{ScanTimeout: time.Minute, AcquireTimeout: time.Minute})
	hasty := newStore(t, pool, Options{Schema: patient.options.Schema, ScanTimeout: 50 * time.Millisecond, AcquireTimeout: 50 * time.Millisecond})
	release := sync.OnceFunc(func() { close(tracer.gate) })
	t.Cleanup(release)
	scanned := make(chan struct{})
	go func() {
		defer close(scanned)
		for released := false; !released; { // the first ones may time out before the gate
			_, _ = hasty.List(context.Background(), scanOf("evil"))
			select {
			case <-tracer.gate:
				released = true
			default:
			}
		}
	}()
	require.Eventually(t, func() bool { return tracer.stopped.Load() == 1 }, time.Minute, time.Millisecond)
	_, err := hasty.List(t.Context(), scanOf("acme"))
	require.ErrorIs(t, err, chargeingest.ErrScanLimit)
	_, err = hasty.Get(t.Context(), "acme", "chda_1")
	require.ErrorIs(t, err, chargeingest.ErrOverloaded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = hasty.Get(ctx, "acme", "chda_1")
	require.ErrorIs(t, err, context.Canceled)
	appended(t, patient, charges("acme", "a"))
	release()
	<-scanned
}

func TestIsScan(t *testing.T) {
	at := time.Now()
	for name, c := range map[string]struct {
		q    chargeingest.Query
		scan bool
	}{
		"a page":                   {chargeingest.Query{}, false},
		"a page after a cursor":    {chargeingest.Query{After: "x", Order: chargeingest.Ascending}, false},
		"a reference":              {chargeingest.Query{Reference: "r"}, false},
		"a reference and more":     {chargeingest.Query{Reference: "r", ProductItemID: "p", From: &at}, false},
		"a customer":               {chargeingest.Query{CustomerID: "c"}, false},
		"a customer reference":     {chargeingest.Query{CustomerReference: "c"}, false},
		"both customer fields":     {chargeingest.Query{CustomerID: "c", CustomerReference: "c"}, true},
		"a customer from a time":   {chargeingest.Query{CustomerID: "c", From: &at}, true},
		"a customer's product":     {chargeingest.Query{CustomerReference: "c", ProductItemID: "p"}, true},
		"until a time":             {chargeingest.Query{To: &at}, true},
		"a subscription":           {chargeingest.Query{PricingPlanSubscriptionID: "s"}, true},
		"a subscription reference": {chargeingest.Query{PricingPlanSubscriptionReference: "s"}, true},
		"a product":                {chargeingest.Query{ProductItemID: "p"}, true},
	} {
		require.Equal(t, c.scan, isScan(&c.q), name)
	}
}

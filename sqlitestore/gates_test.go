package sqlitestore

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/crashtest"
)

func TestIsScan(t *testing.T) {
	now := received()
	for _, c := range []struct {
		query chargeingest.Query
		scan  bool
	}{
		{chargeingest.Query{}, false},
		{chargeingest.Query{CustomerID: "c"}, false},
		{chargeingest.Query{CustomerReference: "c"}, false},
		{chargeingest.Query{Reference: "r", From: &now, ProductItemID: "i"}, false},
		{chargeingest.Query{From: &now}, true},
		{chargeingest.Query{To: &now}, true},
		{chargeingest.Query{ProductItemID: "i"}, true},
		{chargeingest.Query{PricingPlanSubscriptionID: "s"}, true},
		{chargeingest.Query{PricingPlanSubscriptionReference: "s"}, true},
		{chargeingest.Query{CustomerID: "c", To: &now}, true},
		{chargeingest.Query{CustomerID: "c", CustomerReference: "c"}, true},
	} {
		require.Equal(t, c.scan, isScan(c.query), "%+v", c.query)
	}
}

func TestScansLeaveConnectionsToOthers(t *testing.T) {
	for _, readers := range []int{2, 4} {
		t.Run(fmt.Sprint(readers, " readers"), func(t *testing.T) {
			setup := newSetup(t)
			setup.options.MaxReaders, setup.options.ScanTimeout = readers, time.Hour
			setup.tuning.turnTimeout = time.Hour
			s := setup.open(t)
			id := fresh(t, s, charges("globex", "a"))[0]
			scanning, ending := make(chan struct{}, 64), make(chan struct{})
			setup.faults.set(func(st step) error {
				for _, a := range st.arguments {
					if a.Value == "scanned" {
						scanning <- struct{}{}
						<-ending
					}
				}
				return nil
			}, nil)
			ended := make(chan error, 64)
			for range 64 {
				go func() {
					_, err := s.List(context.Background(), chargeingest.Query{Platform: "acme", ProductItemID: "scanned", Limit: 1})
					ended <- err
				}()
			}
			<-scanning
			for range 100 {
				require.Len(t, listed(t, s, "globex"), 1)
				_, err := s.Get(t.Context(), "globex", id)
				require.NoError(t, err)
			}
			require.Empty(t, scanning, "one scan of the platform runs at a time")
			close(ending)
			for range 64 {
				require.NoError(t, <-ended)
			}
		})
	}
}

func TestTurnTimeout(t *testing.T) {
	setup := newSetup(t)
	setup.options.MaxReaders, setup.options.ScanTimeout = 1, time.Hour
	s := setup.open(t)
	end := startReading(t, s)
	s.file.turnTimeout = 0
	for _, q := range []chargeingest.Query{{}, {ProductItemID: "item"}} {
		q.Platform, q.Limit = "acme", 1
		_, err := s.List(t.Context(), q)
		require.ErrorIs(t, err, chargeingest.ErrOverloaded)
		require.NotErrorIs(t, err, chargeingest.ErrScanLimit)
	}
	srv := endpoint(t, s)
	for _, path := range []string{"", "?product_item_id=item", "/chda_0"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+single+path, http.NoBody)
		require.NoError(t, err)
		req.Header.Set("X-Api-Key", crashtest.Secret)
		req.Header.Set("X-Platform-Id", "acme")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		require.NotEmpty(t, res.Header.Get("Retry-After"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "acme", "id")
	require.ErrorIs(t, err, context.Canceled)
	end()
	s.file.turnTimeout = time.Hour
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", ProductItemID: "item", Limit: 1})
	require.NoError(t, err)
}

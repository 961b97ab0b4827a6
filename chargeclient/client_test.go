package chargeclient_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

// newClient returns a client that retries until its context ends, unless set changes that.
func newClient(t *testing.T, srv *chargetest.Server, set ...func(*chargeclient.Config)) *chargeclient.Client {
	t.Helper()
	cfg := chargeclient.Config{URL: "https://api.vendor.example", APIKey: srv.APIKey(), HTTPClient: srv.Client(), RetryTimeout: -1}
	for _, f := range set {
		f(&cfg)
	}
	c, err := chargeclient.New(cfg)
	require.NoError(t, err)
	return c
}

func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		for _, reference := range []string{"order-42", ""} {
			stored, replayed, err := c.Send(t.Context(), chargetest.Sample(reference))
			require.NoError(t, err)
			require.False(t, replayed)
			require.Equal(t, srv.Events()[len(srv.Events())-1].ChargeEvent, stored.ChargeEvent)
			got, err := c.Get(t.Context(), stored.ID)
			require.NoError(t, err)
			require.Equal(t, stored, got)
			_, replayed, err = c.Send(t.Context(), chargetest.Sample(reference))
			require.NoError(t, err)
			require.Equal(t, reference != "", replayed)
		}
		srv.AssertCount(t, 3)
		srv.AssertNoRejections(t)
	})
}

func TestSendBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		events := []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample(""), chargetest.Sample("b"), chargetest.Sample("a")}
		result, err := c.SendBatch(t.Context(), events)
		require.NoError(t, err)
		require.Equal(t, 1, result.Replayed)
		require.Len(t, result.Events, 4)
		require.Equal(t, result.Events[0], result.Events[3])
		srv.AssertCount(t, 3)
		page, err := c.List(t.Context(), chargeclient.Query{Ascending: true})
		require.NoError(t, err)
		require.Equal(t, result.Events[:3], page.Events)
		result, err = c.SendBatch(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, result)
		require.Len(t, srv.Requests(), 2)
	})
}

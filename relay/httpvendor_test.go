package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/relay"
)

func TestHTTPVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quirks := chargetest.VendorQuirks()
		quirks.RateLimit.Requests = 6
		srv := chargetest.NewWith(t, chargetest.Options{Quirks: quirks, Catalogue: chargetest.Catalogue{
			Customers: []string{"customer-sample"}, Products: []string{chargetest.Sample("").ProductItemID},
		}})
		h := newHTTP(t, srv)
		send := func(change func([]chargeingest.StoredEvent), references ...string) ([]relay.Result, error) {
			events := httpEvents(t, references...)
			if change != nil {
				change(events)
			}
			return h.Send(t.Context(), httpPlatform, events)
		}
		results, err := send(nil, "reference-1", "", "short", "reference-2")
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{unsent, unsent, rejected, unsent}, outcomesOf(results))
		require.Equal(t, "reference", results[2].Reason.Field)

		replace := func(old, text string) func([]chargeingest.StoredEvent) {
			return func(events []chargeingest.StoredEvent) {
				last := &events[len(events)-1]
				require.Contains(t, last.Content, old)
				last.Content = strings.Replace(last.Content, old, text, 1)
			}
		}
		results, err = send(replace("customer-sample", "stranger"), "reference-1", "reference-2")
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{unsent, rejected}, outcomesOf(results))
		require.Equal(t, relay.Reason{
			Status: 404, Code: "RESOURCES_NOT_FOUND", Field: "customer_reference",
			Message: `customer_reference names an unknown customer: "stranger"`,
		}, results[1].Reason)

		results, err = send(replace("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"), "reference-1")
		require.NoError(t, err)
		require.Equal(t, "timestamp", results[0].Reason.Field)

		_, err = send(nil, strings.Split(strings.Repeat(",", 50), ",")...)
		var batch *relay.BatchError
		require.ErrorAs(t, err, &batch)
		require.True(t, batch.Permanent)

		results, err = send(nil, "reference-1")
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{delivered}, outcomesOf(results))
		results, err = send(replace("EUR", "USD"), "reference-1")
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{repeated}, outcomesOf(results), "the vendor returns the original")

		_, err = send(nil, "reference-2")
		require.ErrorAs(t, err, &batch)
		require.False(t, batch.Permanent)
		require.Equal(t, time.Second, batch.RetryAfter)
		srv.Advance(batch.RetryAfter)
		_, err = send(nil, "reference-2")
		require.NoError(t, err)
		srv.AssertCount(t, 2)
	})
}

func TestHTTPConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		h := newHTTP(t, srv)
		_, err := h.Send(t.Context(), httpPlatform, httpEvents(t, "r-1"))
		require.NoError(t, err)
		events := httpEvents(t, "r-0", "r-1", "r-2")
		events[1].Content = strings.Replace(events[1].Content, "EUR", "USD", 1)
		results, err := h.Send(t.Context(), httpPlatform, events)
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{unsent, rejected, unsent}, outcomesOf(results))
		reason := results[1].Reason
		require.Equal(t, "reference", reason.Field)
		require.Equal(t, 409, reason.Status)
		require.True(t, strings.HasPrefix(reason.Message, "reference is already used by event "), reason.Message)
		results, err = h.Send(t.Context(), httpPlatform, events[1:2])
		require.NoError(t, err)
		require.Equal(t, reason, results[0].Reason)
	})
}

func TestHTTPTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{Configure: func(cfg *chargeingest.Config) { cfg.MaxBodyBytes = 800 }})
		h := newHTTP(t, srv)
		_, err := h.Send(t.Context(), httpPlatform, httpEvents(t, "r-1", "r-2"))
		var batch *relay.BatchError
		require.ErrorAs(t, err, &batch)
		require.True(t, batch.Permanent)
		require.Equal(t, 413, batch.Reason.Status)
		results, err := h.Send(t.Context(), httpPlatform, httpEvents(t, "r-1"))
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{delivered}, outcomesOf(results))
		large := httpEvents(t, strings.Repeat("r", 256))
		large[0].Content = strings.Replace(large[0].Content, `"description":null`, `"description":"`+strings.Repeat("x", 256)+`"`, 1)
		results, err = h.Send(t.Context(), httpPlatform, large)
		require.NoError(t, err)
		require.Equal(t, []relay.Outcome{rejected}, outcomesOf(results))
	})
}

func TestEventJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		_, err := newHTTP(t, srv).Send(t.Context(), httpPlatform, httpEvents(t, "r-1"))
		require.NoError(t, err)
		response := strings.TrimSpace(string(srv.Requests()[0].ResponseBody))
		e := httpEvents(t, "r-1")[0]
		e.ID = srv.Events()[0].ID
		text, err := relay.EventJSON(&e)
		require.NoError(t, err)
		require.Equal(t, response, string(text))
		_, err = relay.EventJSON(&chargeingest.StoredEvent{ID: e.ID})
		require.Error(t, err)
	})
}

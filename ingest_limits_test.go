package chargeingest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
)

// lastContext is a store that keeps the last context.
type lastContext struct{ context.Context }

func (s *lastContext) Append(ctx context.Context, _ Batch) (AppendResult, error) {
	s.Context = ctx
	return AppendResult{}, ErrClosed
}

// Without limits, storekit reserves no memory for comparisons.
func TestIngestLimitsComparisons(t *testing.T) {
	s := new(lastContext)
	h, err := New(Config{Store: s, Authorizer: AuthorizerFunc(func(*http.Request, Permission) (Principal, error) {
		return Principal{}, errors.New("not asked")
	})})
	require.NoError(t, err)
	_, err = h.Ingest(t.Context(), IngestRequest{Platform: "p", Events: []ChargeEvent{
		{ProductItemID: "a", PricingID: "b", PricingItemID: "c", PricingItemConfigID: "d"},
	}})
	require.ErrorIs(t, err, ErrClosed)
	require.NotNil(t, limits.ComparisonOf(s))
}

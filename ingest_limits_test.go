package chargeingest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
)

type contextStore struct{ context.Context }

func (s *contextStore) Append(ctx context.Context, _ Batch) (AppendResult, error) {
	s.Context = ctx
	return AppendResult{}, ErrClosed
}

// storekit needs the limits in the context to reserve memory for comparisons.
func TestIngestLimitsComparisons(t *testing.T) {
	s := new(contextStore)
	h, err := New(Config{Store: s, Authorizer: AuthorizerFunc(func(*http.Request, Permission) (Principal, error) {
		return Principal{}, errors.New("not called")
	})})
	require.NoError(t, err)
	_, err = h.Ingest(t.Context(), IngestRequest{Platform: "p", Events: []ChargeEvent{
		{ProductItemID: "a", PricingID: "b", PricingItemID: "c", PricingItemConfigID: "d"},
	}})
	require.ErrorIs(t, err, ErrClosed)
	require.NotNil(t, limits.ComparisonOf(s))
}

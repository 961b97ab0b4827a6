package chargeingest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// seenBatch is a store that keeps the last batch.
type seenBatch struct{ Batch }

func (s *seenBatch) Append(_ context.Context, b Batch) (AppendResult, error) {
	s.Batch = b
	return AppendResult{}, ErrClosed
}

// Without limits CompareOutside takes no slot and reserves nothing, so that each
// goroutine that calls Ingest has a comparison of its own.
func TestIngestLimitsComparisons(t *testing.T) {
	s := new(seenBatch)
	h, err := New(Config{Store: s, Authorizer: AuthorizerFunc(func(*http.Request, Permission) (Principal, error) {
		return Principal{}, errors.New("not asked")
	})})
	require.NoError(t, err)
	_, err = h.Ingest(t.Context(), IngestRequest{Platform: "p", Events: []ChargeEvent{
		{ProductItemID: "a", PricingID: "b", PricingItemID: "c", PricingItemConfigID: "d"},
	}})
	require.ErrorIs(t, err, ErrClosed)
	require.NotNil(t, s.compared.limits)
}

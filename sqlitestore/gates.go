package sqlitestore

import (
	"context"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

// gates let platforms take turns at reading.
type gates struct {
	reads *limits.Gate // one slot per connection
	scans *limits.Gate // entered first, so that waiting scans hold no connection
}

func newGates(readers int) gates {
	return gates{reads: limits.NewGate(readers), scans: limits.NewGate(readers / 2)}
}

func (g *gates) enter(ctx context.Context, platform string, scan bool) (leave func(), err error) {
	if !scan {
		return g.reads.Enter(ctx, platform)
	}
	leaveScans, err := g.scans.Enter(ctx, platform)
	if err != nil {
		return nil, err
	}
	leaveReads, err := g.reads.Enter(ctx, platform)
	if err != nil {
		leaveScans()
		return nil, err
	}
	return func() { leaveReads(); leaveScans() }, nil
}

// isScan reports whether a query may read many more events than it returns.
func isScan(q chargeingest.Query) bool {
	if q.Reference != "" {
		return false // at most one event
	}
	return q.ProductItemID != "" || q.PricingPlanSubscriptionID != "" || q.PricingPlanSubscriptionReference != "" ||
		q.From != nil || q.To != nil || q.CustomerID != "" && q.CustomerReference != ""
}

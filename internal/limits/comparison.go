package limits

import "context"

// Comparison limits comparing the events of one request.
type Comparison struct {
	Gate        *Gate // bounds concurrent comparisons
	Reservation *Reservation
	BodyBytes   int64 // the part of Reservation that the body still needs
}

type comparisonKey struct{}

// WithComparison carries c to the store.
func WithComparison(ctx context.Context, c *Comparison) context.Context {
	return context.WithValue(ctx, comparisonKey{}, c)
}

// ComparisonOf may return nil.
func ComparisonOf(ctx context.Context) *Comparison {
	c, _ := ctx.Value(comparisonKey{}).(*Comparison)
	return c
}

package limits

import "context"

// Comparison limits comparing the events of one request.
type Comparison struct {
	Gate        *Gate // bounds concurrent comparisons
	Reservation *Reservation
	BodyBytes   int64 // the part of Reservation that the body still needs

	context.Context
	values context.Context
}

// Value implements [context.Context].
func (c *Comparison) Value(key any) any {
	if key == (comparisonKey{}) {
		return c
	}
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}

type comparisonKey struct{}

// WithComparison carries c to the store.
func WithComparison(ctx context.Context, c *Comparison) context.Context {
	c.Context, c.values = ctx, context.Background()
	return c
}

// ComparisonOf may return nil.
func ComparisonOf(ctx context.Context) *Comparison {
	c, _ := ctx.Value(comparisonKey{}).(*Comparison)
	return c
}

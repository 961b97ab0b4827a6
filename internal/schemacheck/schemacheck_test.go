package schemacheck

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFieldOrder(t *testing.T) {
	c, err := New(Config{})
	require.NoError(t, err)
	require.Equal(t, map[string]int{
		"product_item_id": 0, "pricing_id": 1, "pricing_item_id": 2, "pricing_item_config_id": 3,
		"customer_id": 4, "customer_reference": 5, "pricing_plan_subscription_id": 6, "pricing_plan_subscription_reference": 7,
		"pricing_plan_subscription_selector": 8, "reference": 9, "description": 10, "value": 11, "period": 12, "timestamp": 13,
		"id": 14, "object_type": 15,
	}, c.rank)
}

package schemacheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
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

func TestUnknownNames(t *testing.T) {
	c, err := New(Config{MaxEvents: 1})
	require.NoError(t, err)
	check := func(body string) []Violation {
		var invalid *InvalidError
		require.ErrorAs(t, c.Check(t.Context(), []byte(body), false, time.Now()), &invalid)
		return invalid.Violations
	}
	t.Run("names that are equal after the cut are listed once", func(t *testing.T) {
		long := strings.Repeat("n", 200)
		found := check(`{"value":{"` + long + `1":1,"` + long + `2":1}}`)
		unknown := slices.DeleteFunc(found, func(v Violation) bool { return v.Code == MissingField })
		require.Len(t, unknown, 1)
		require.Equal(t, limits.Shorten("value."+long), unknown[0].Field)
	})
	t.Run("names that are equal after the cut leave room for other events", func(t *testing.T) {
		c, err := New(Config{MaxEvents: 3})
		require.NoError(t, err)
		var names strings.Builder
		for i := range 150 {
			fmt.Fprintf(&names, `"%s%d":1,`, strings.Repeat("‹", 120), i)
		}
		event := `{` + names.String() + `"value":{` + names.String() + `"id":null}}`
		var invalid *InvalidError
		require.ErrorAs(t, c.Check(t.Context(), []byte(`{"charge_datas":[`+event+`,{},`+event+`]}`), true, time.Now()), &invalid)
		fields := make(map[string]bool)
		for _, v := range invalid.Violations {
			fields[v.Field] = true
		}
		require.True(t, fields["charge_datas.1.pricing_id"])
		require.True(t, fields["charge_datas.2.pricing_id"])
	})
	t.Run("an empty name is quoted", func(t *testing.T) {
		found := check(`{"":1}`)
		require.Contains(t, found[len(found)-1].Message, `"" is not a known field`)
	})
}

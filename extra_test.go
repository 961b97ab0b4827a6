package chargeingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// eventWithExtra is a valid event with one extra member in the object at a path.
func eventWithExtra(t *testing.T, path string, m chargeingest.ExtraField) chargeingest.ChargeEvent {
	t.Helper()
	ev := decoded(t, fullEvent)[0]
	extra := []chargeingest.ExtraField{m}
	s := ev.PricingPlanSubscriptionSelector
	switch path {
	case "":
		ev.Extra = extra
	case "value":
		ev.Value.Extra = extra
	case "value.amount":
		ev.Value.Amount.Extra = extra
	case "period":
		ev.Period.Extra = extra
	case "pricing_plan_subscription_selector":
		s.Extra = extra
	case "pricing_plan_subscription_selector.data.0":
		s.Data[0].Extra = extra
	case "pricing_plan_subscription_selector.rules.0":
		s.Rules[0].Extra = extra
	case "pricing_plan_subscription_selector.filters.0":
		s.Filters[0].Extra = extra
	default:
		t.Fatalf("no object at %s", path)
	}
	return ev
}

var extraPaths = []string{
	"", "value", "value.amount", "period", "pricing_plan_subscription_selector",
	"pricing_plan_subscription_selector.data.0", "pricing_plan_subscription_selector.rules.0", "pricing_plan_subscription_selector.filters.0",
}

func TestIngestInvalidExtraFields(t *testing.T) {
	t.Parallel()
	raw := func(name, value string) chargeingest.ExtraField {
		return chargeingest.ExtraField{Name: name, Value: json.RawMessage(value)}
	}
	for _, c := range []struct {
		name   string
		member chargeingest.ExtraField
		path   string
	}{
		{"a value that closes its object", raw("x", `1},"y":{"z":2`), "x"},
		{"a value that closes its event", raw("x", `1},`+event()[:len(event())-1]), "x"},
		{"a value that closes the batch", raw("x", `1}]}`), "x"},
		{"a value with another member", raw("x", `1,"y":2`), "x"},
		{"two values", raw("x", `1 2`), "x"},
		{"no value", raw("x", ``), "x"},
		{"half a value", raw("x", `{"a":`), "x"},
		{"a value that is not JSON", raw("x", `nan`), "x"},
		{"a value with a name twice", raw("x", `{"a":1,"a":2}`), "x"},
		{"a value that is not UTF-8", raw("x", "\"\xff\""), "x"},
		{"a lone surrogate", raw("x", `"\ud800"`), "x"},
		{"a name that is not UTF-8", raw("x\xff", `1`), "x\ufffd"},
	} {
		for _, at := range extraPaths {
			t.Run(c.name+" in "+joined(at, "the event"), func(t *testing.T) {
				requireNotIngested(t, eventWithExtra(t, at, c.member), "charge_datas.1."+joined(at, c.path))
			})
		}
	}
	t.Run("a name that the object has already", func(t *testing.T) {
		requireNotIngested(t, eventWithExtra(t, "", raw("reference", `"other"`)), "charge_datas.1.reference")
		requireNotIngested(t, eventWithExtra(t, "value", raw("number", `"1"`)), "charge_datas.1.value.number")
		ev := eventWithExtra(t, "period", raw("x", `1`))
		ev.Period.Extra = append(ev.Period.Extra, raw("x", `2`))
		requireNotIngested(t, ev, "charge_datas.1.period.x")
	})
}

// requireNotIngested holds Ingest and MarshalJSON to refusing an event for a field.
func requireNotIngested(t *testing.T, ev chargeingest.ChargeEvent, field string) {
	t.Helper()
	_, err := json.Marshal(ev)
	require.Error(t, err)
	for _, settings := range [][]func(*chargeingest.Config){{keepUnknown}, nil} {
		f := newFixture(t, settings...)
		_, err = f.handler.Ingest(context.Background(), chargeingest.IngestRequest{
			Platform: "pf_a", Events: append(decoded(t, event()), ev),
		})
		var e *chargeingest.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, http.StatusBadRequest, e.Status)
		require.Equal(t, chargeingest.CodeInvalidField, e.Code)
		require.Equal(t, field, e.Field)
		require.Equal(t, []chargeingest.Violation{{Code: e.Code, Field: e.Field, Message: e.Message}}, e.Violations)
		require.Error(t, errors.Unwrap(e))
		f.requireNothingStored(t)
	}
}

func TestIngestValidExtraFields(t *testing.T) {
	t.Parallel()
	for _, at := range extraPaths {
		for _, value := range []string{`1.50`, `null`, `"},{"`, ` [1, {"a": {}}] `, `{"a":1}`} {
			ev := eventWithExtra(t, at, chargeingest.ExtraField{Name: `x"}`, Value: json.RawMessage(value)})
			f := newFixture(t, keepUnknown)
			result, err := f.handler.Ingest(context.Background(), chargeingest.IngestRequest{Platform: "pf_a", Events: []chargeingest.ChargeEvent{ev}})
			require.NoError(t, err, "%s in %s", value, at)
			require.Len(t, result.Events, 1)
			require.Len(t, f.list(t, "pf_a"), 1)
		}
	}
}

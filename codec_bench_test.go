package chargeingest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/schemacheck"
)

const benchmarkEvent = `{"product_item_id": "proi_V7EoCpciIAHibhKIxqQI", "pricing_id": "pric_as4YcnSsQnxgTWPpjKXS", ` +
	`"pricing_item_id": "prii_SYroX7TSzQ0pk7LUoxPL", "pricing_item_config_id": "pico_DhqWU4RYZAGYPdMEePqp", ` +
	`"customer_id": "cust_MltwYgOWVgw0XmR4D4pQ", "customer_reference": null, ` +
	`"pricing_plan_subscription_id": "pps_r6Cxyu7thrd0lDEoEr6l", "reference": "99f2ade5-1057-4c9d-b47a-4acb2b917cff", ` +
	`"description": "GPU hours", "value": {"amount": {"quantity": "446.56", "currency": "USD"}}, ` +
	`"timestamp": "2026-09-01T09:00:29+09:00"}`

func BenchmarkDecodeAndCheck(b *testing.B) {
	v, err := newValidator(1000, false, schemacheck.CrossRules{})
	require.NoError(b, err)
	body := []byte(benchmarkEvent)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	d := new(decoder)
	for b.Loop() {
		if _, ok := v.decode(d, body, RouteSingle, fuzzNow, true); !ok {
			b.Fatal("the fast path does not accept the event")
		}
	}
}

func BenchmarkSchema(b *testing.B) {
	v, err := newValidator(1000, false, schemacheck.CrossRules{})
	require.NoError(b, err)
	body := []byte(benchmarkEvent)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := v.check(b.Context(), body, RouteSingle, fuzzNow); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeAndDigest(b *testing.B) {
	v, err := newValidator(1000, false, schemacheck.CrossRules{})
	require.NoError(b, err)
	events, ok := v.decode(new(decoder), []byte(benchmarkEvent), RouteSingle, fuzzNow, true)
	require.True(b, ok)
	b.ReportAllocs()
	e := new(encoder)
	for b.Loop() {
		if rec := e.newEvents(events, fuzzNow)[0]; rec.Content == "" {
			b.Fatal("no content")
		}
	}
}

func BenchmarkRequestDigest(b *testing.B) {
	events := make([]NewEvent, 500)
	b.ReportAllocs()
	for b.Loop() {
		if requestDigest(RouteBatch, events) == (Digest{}) {
			b.Fatal("no digest")
		}
	}
}

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
)

func appendRecord(dst []byte, cells ...*string) []byte {
	for i, cell := range cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		if cell != nil {
			dst = appendCell(dst, withoutFormula(*cell))
		}
	}
	return append(dst, "\r\n"...)
}

func appendCell(dst []byte, text string) []byte {
	if text != "" && !strings.ContainsAny(text, ",\"\r\n") {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(text, `"`, `""`)...)
	return append(dst, '"')
}

// To undo withoutFormula, remove one leading apostrophe.
func withoutFormula(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r\n'") && !isDecimal(text) {
		return "'" + text
	}
	return text
}

type column struct {
	name string
	cell *string
}

type derived struct {
	selector, unknown *string // JSON
	utc, received     *string
}

func derive(e *chargeingest.ChargeEvent) (d derived, err error) {
	if d.selector, err = selectorText(e); err != nil {
		return d, err
	}
	if d.unknown, err = unknownFields(e); err != nil {
		return d, err
	}
	timestamp, err := eventTime(e)
	if err != nil {
		return d, err
	}
	received, err := receiptTime(e)
	d.utc, d.received = new(formatUTC(timestamp)), new(received.Format("2006-01-02T15:04:05.000Z"))
	return d, err
}

func csvHeader() string {
	var names []*string
	for _, c := range columns(new(chargeingest.ChargeEvent), derived{}) {
		names = append(names, &c.name)
	}
	return string(appendRecord(nil, names...))
}

func appendCSV(dst []byte, e *chargeclient.Event) ([]byte, error) {
	d, err := derive(&e.ChargeEvent)
	if err != nil {
		return nil, err
	}
	var cells []*string
	for _, c := range columns(&e.ChargeEvent, d) {
		cells = append(cells, c.cell)
	}
	return appendRecord(dst, cells...), nil
}

func columns(e *chargeingest.ChargeEvent, d derived) []column {
	v, p := orZero(e.Value), orZero(e.Period)
	var quantity, currency *string
	if v.Amount != nil {
		quantity, currency = &v.Amount.Quantity, &v.Amount.Currency
	}
	return []column{
		{"id", &e.ID},
		{"object_type", new("CHARGE_DATA")},
		{"product_item_id", &e.ProductItemID},
		{"pricing_id", &e.PricingID},
		{"pricing_item_id", &e.PricingItemID},
		{"pricing_item_config_id", &e.PricingItemConfigID},
		{"customer_id", e.CustomerID},
		{"customer_reference", e.CustomerReference},
		{"pricing_plan_subscription_id", e.PricingPlanSubscriptionID},
		{"pricing_plan_subscription_reference", e.PricingPlanSubscriptionReference},
		{"pricing_plan_subscription_selector", d.selector},
		{"reference", e.Reference},
		{"description", e.Description},
		{"value_id", v.ID},
		{"value_reference", v.Reference},
		{"value_number", v.Number},
		{"value_amount_quantity", quantity},
		{"value_amount_currency", currency},
		{"value_count", v.Count},
		{"period_start_at", p.StartAt},
		{"period_end_at", p.EndAt},
		{"period_ratio", p.Ratio},
		{"timestamp", e.Timestamp},
		{"timestamp_utc", d.utc},
		{"received_at", d.received},
		{"unknown_fields", d.unknown},
	}
}

func orZero[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

// formatUTC agrees with charge_events_view, even after the year 9999.
func formatUTC(t time.Time) string {
	if end := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC); t.Year() > 9999 {
		return fmt.Sprintf("9999-12-31T%02d%s", int(t.Sub(end).Hours()), t.Format(":04:05.000000000Z"))
	}
	return t.Format("2006-01-02T15:04:05.000000000Z")
}

func selectorText(e *chargeingest.ChargeEvent) (*string, error) {
	if e.PricingPlanSubscriptionSelector == nil {
		return nil, nil
	}
	text, err := chargeingest.ChargeEvent{PricingPlanSubscriptionSelector: e.PricingPlanSubscriptionSelector}.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var event struct {
		Selector jsontext.Value `json:"pricing_plan_subscription_selector"`
	}
	if err := json.Unmarshal(text, &event); err != nil {
		return nil, err
	}
	err = event.Selector.Compact()
	return new(string(event.Selector)), err
}

func unknownFields(e *chargeingest.ChargeEvent) (*string, error) {
	v, p := orZero(e.Value), orZero(e.Period)
	object := append([]byte{'{'}, extraText(e.Extra)...)
	value := append([]byte{}, extraText(v.Extra)...)
	if v.Amount != nil {
		value = appendObject(value, "amount", extraText(v.Amount.Extra))
	}
	object = appendObject(object, "value", value)
	object = appendObject(object, "period", extraText(p.Extra))
	if len(object) == 1 {
		return nil, nil
	}
	text := jsontext.Value(append(object, '}'))
	err := text.Compact()
	return new(string(text)), err
}

func extraText(fields []chargeingest.ExtraField) []byte {
	var text []byte
	for _, f := range fields {
		if len(text) > 0 {
			text = append(text, ',')
		}
		text, _ = jsontext.AppendQuote(text, f.Name) // valid UTF-8
		text = append(append(text, ':'), f.Value...)
	}
	return text
}

func appendObject(dst []byte, name string, fields []byte) []byte {
	if len(fields) == 0 {
		return dst
	}
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	return fmt.Appendf(dst, "%q:{%s}", name, fields)
}

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
)

// parseCSV keeps line breaks in cells, unlike encoding/csv.
func parseCSV(t *testing.T, text string) [][]*string {
	t.Helper()
	var records [][]*string
	var record []*string
	for text != "" {
		var cell *string
		if strings.HasPrefix(text, `"`) {
			value := ""
			for {
				part, rest, found := strings.Cut(text[1:], `"`)
				require.True(t, found, text)
				value, text = value+part, rest
				if !strings.HasPrefix(text, `"`) {
					break
				}
				value += `"`
			}
			cell = &value
		} else if n := strings.IndexAny(text, ",\r\n\""); n > 0 {
			cell, text = new(text[:n]), text[n:]
		}
		record = append(record, cell)
		if rest, ok := strings.CutPrefix(text, "\r\n"); ok {
			records, record, text = append(records, record), nil, rest
			continue
		}
		require.True(t, strings.HasPrefix(text, ","), text)
		text = text[1:]
	}
	require.Nil(t, record, "the last record has no end")
	return records
}

func fieldOf(cell *string) *string {
	if cell == nil {
		return nil
	}
	return new(strings.TrimPrefix(*cell, "'"))
}

func TestFormulaCells(t *testing.T) {
	for text, cell := range map[string]string{
		"plain":                                  "plain",
		"":                                       `""`,
		"a =1":                                   "a =1",
		"-5":                                     "-5",
		"-5.50":                                  "-5.50",
		"12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
		"-5-5":                                   "'-5-5",
		"-":                                      "'-",
		"-.5":                                    "'-.5",
		"+5":                                     "'+5",
		"=1+1":                                   "'=1+1",
		"@SUM(A1)":                               "'@SUM(A1)",
		"'quoted":                                "''quoted",
		"''":                                     "'''",
		"\t=1":                                   "'\t=1",
		"\r=1":                                   "\"'\r=1\"",
		"\n=1":                                   "\"'\n=1\"",
		`=HYPERLINK("x",1)`:                      `"'=HYPERLINK(""x"",1)"`,
		"a,b":                                    `"a,b"`,
		"a\r\nb":                                 "\"a\r\nb\"",
	} {
		record := string(appendRecord(nil, &text, nil))
		require.Equal(t, cell+",\r\n", record)
		parsed := parseCSV(t, record)[0]
		require.Equal(t, []*string{&text, nil}, []*string{fieldOf(parsed[0]), parsed[1]})
	}
}

func TestColumnsAreThoseOfTheView(t *testing.T) {
	scripts, err := filepath.Glob("../../sqlitestore/migrations/*_view.sql")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	text, err := os.ReadFile(scripts[len(scripts)-1])
	require.NoError(t, err)
	_, list, _ := strings.Cut(string(text), "SELECT\n")
	list, _, _ = strings.Cut(list, "\nFROM")
	var names []string
	for _, m := range regexp.MustCompile(`(?m)([a-z]\w*),?$`).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains([]string{"seq", "platform", "content"}, n) })
	require.Equal(t, strings.Join(append(names, "unknown_fields"), ",")+"\r\n", csvHeader())
}

func TestTimestampUTC(t *testing.T) {
	for timestamp, utc := range map[string]string{
		"2026-09-01t09:00:29.5+09:00":    "2026-09-01T00:00:29.500000000Z",
		"0001-01-01T00:00:00+14:00":      "0000-12-31T10:00:00.000000000Z",
		"9999-12-31T23:59:59.999999999Z": "9999-12-31T23:59:59.999999999Z",
		"9999-12-31T23:59:59-00:01":      "9999-12-31T24:00:59.000000000Z",
		"9999-12-31T23:59:59-14:00":      "9999-12-31T37:59:59.000000000Z",
	} {
		at, err := eventTime(&chargeingest.ChargeEvent{Timestamp: &timestamp})
		require.NoError(t, err)
		require.Equal(t, utc, formatUTC(at))
	}
}

func TestUnknownFieldsColumn(t *testing.T) {
	for event, want := range map[string]string{
		`{}`:                                   "",
		`{"value":{"number":"1"},"period":{}}`: "",
		`{"value":{"amount":{"quantity":"1","currency":"EUR","vat":0.10}},"z":null,"a\"b":{"x": [1.0]}}`:  `{"z":null,"a\"b":{"x":[1.0]},"value":{"amount":{"vat":0.10}}}`,
		`{"value":{"unit":"h","amount":{"quantity":"1","currency":"EUR","vat":1}},"period":{"tz":"UTC"}}`: `{"value":{"unit":"h","amount":{"vat":1}},"period":{"tz":"UTC"}}`,
	} {
		var e chargeingest.ChargeEvent
		require.NoError(t, e.UnmarshalJSON([]byte(event)))
		got, err := unknownFields(&e)
		require.NoError(t, err)
		require.Equal(t, want, *orZero(got))
	}
}

func hostileText(r *rand.Rand) *string {
	parts := []string{"=", "+", "-", "@", "'", `"`, ",", "\t", "\r", "\n", "\r\n", " ", "a", "1", "\u202e", "\x1b[31m", "é", "€", ";", `\`}
	text := ""
	for range r.IntN(6) {
		text += parts[r.IntN(len(parts))]
	}
	if text == "" && r.IntN(2) == 0 {
		return nil
	}
	return &text
}

func randomEvent(r *rand.Rand) chargeingest.ChargeEvent {
	text := func() string { return *orZero(hostileText(r)) }
	extra := func(at string) []chargeingest.ExtraField {
		if r.IntN(3) > 0 {
			return nil
		}
		value, _ := json.Marshal(map[string]any{at: text()})
		return []chargeingest.ExtraField{{Name: "extra " + text(), Value: value}}
	}
	e := chargeingest.ChargeEvent{
		ID:            "chda_01K4GQXJ5WTM4R2V8ZC6N3HBDA",
		ProductItemID: text(), PricingID: text(), PricingItemID: text(), PricingItemConfigID: text(),
		CustomerID: hostileText(r), CustomerReference: hostileText(r),
		PricingPlanSubscriptionID: hostileText(r), PricingPlanSubscriptionReference: hostileText(r),
		Reference: hostileText(r), Description: hostileText(r),
		Timestamp: new(fmt.Sprintf("2026-09-%02dT%02d:00:00.%dZ", 1+r.IntN(30), r.IntN(24), r.IntN(1e9))),
		Extra:     extra("top"),
	}
	if r.IntN(4) > 0 {
		e.Value = &chargeingest.Value{ID: hostileText(r), Reference: hostileText(r), Number: new(randomDecimal(r)), Extra: extra("value")}
		if r.IntN(2) > 0 {
			e.Value.Amount = &chargeingest.Amount{Quantity: randomDecimal(r), Currency: "EUR", Extra: extra("amount")}
		}
	}
	if r.IntN(2) > 0 {
		e.Period = &chargeingest.Period{StartAt: new("2026-09-01T00:00:00Z"), Ratio: new(randomDecimal(r)), Extra: extra("period")}
	}
	if r.IntN(2) > 0 {
		e.PricingPlanSubscriptionSelector = &chargeingest.Selector{
			Data:  []chargeingest.SelectorEntry{{Field: text(), Value: hostileText(r), Extra: extra("entry")}},
			Rules: []chargeingest.SelectorEntry{}, Fallback: hostileText(r),
		}
	}
	return e
}

func TestCSVKeepsAllFields(t *testing.T) {
	r := newRandom(t)
	names := parseCSV(t, csvHeader())[0]
	for range 2000 {
		e := randomEvent(r)
		text, err := appendCSV(nil, &chargeclient.Event{ChargeEvent: e})
		require.NoError(t, err)
		records := parseCSV(t, string(text))
		require.Len(t, records, 1)
		require.Len(t, records[0], len(names))
		cells := make(map[string]*string)
		for i, cell := range records[0] {
			require.NotRegexp(t, `^[=+@\t\r\n]|^-[^0-9]`, *orZero(cell))
			cells[*names[i]] = fieldOf(cell)
		}
		require.Equal(t, e, eventOf(t, cells))
	}
}

func eventOf(t *testing.T, cells map[string]*string) (e chargeingest.ChargeEvent) {
	t.Helper()
	var extra chargeingest.ChargeEvent
	if unknown := cells["unknown_fields"]; unknown != nil {
		require.NoError(t, extra.UnmarshalJSON([]byte(*unknown)))
	}
	e = chargeingest.ChargeEvent{
		ID: *cells["id"], ProductItemID: *cells["product_item_id"], PricingID: *cells["pricing_id"],
		PricingItemID: *cells["pricing_item_id"], PricingItemConfigID: *cells["pricing_item_config_id"],
		CustomerID: cells["customer_id"], CustomerReference: cells["customer_reference"],
		PricingPlanSubscriptionID:        cells["pricing_plan_subscription_id"],
		PricingPlanSubscriptionReference: cells["pricing_plan_subscription_reference"],
		Reference:                        cells["reference"], Description: cells["description"], Timestamp: cells["timestamp"], Extra: extra.Extra,
	}
	if cells["value_number"] != nil {
		e.Value = orZero(extra.Value)
		amount := e.Value.Amount
		e.Value.ID, e.Value.Reference, e.Value.Number = cells["value_id"], cells["value_reference"], cells["value_number"]
		e.Value.Amount = nil
		if cells["value_amount_quantity"] != nil {
			e.Value.Amount = orZero(amount)
			e.Value.Amount.Quantity, e.Value.Amount.Currency = *cells["value_amount_quantity"], *cells["value_amount_currency"]
		}
	}
	if cells["period_ratio"] != nil {
		e.Period = orZero(extra.Period)
		e.Period.StartAt, e.Period.Ratio = cells["period_start_at"], cells["period_ratio"]
	}
	if cells["pricing_plan_subscription_selector"] != nil {
		var selected chargeingest.ChargeEvent
		require.NoError(t, selected.UnmarshalJSON(fmt.Appendf(nil, `{"pricing_plan_subscription_selector":%s}`, *cells["pricing_plan_subscription_selector"])))
		e.PricingPlanSubscriptionSelector = selected.PricingPlanSubscriptionSelector
	}
	return e
}

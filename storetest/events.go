package storetest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// draft is an event as a client sends it.
type draft struct {
	reference             string
	customerID            string
	customerReference     string
	subscriptionID        string
	subscriptionReference string
	productItemID         string // empty: "item"
	number                string // value.number; empty: "1.10"
	timestamp             string // RFC 3339; empty: omitted
	extra                 string // JSON value of an unknown field; empty: omitted
	received              time.Time
	layout                layout
}

type layout int

const (
	compact layout = iota
	spaced
	reversed
	withoutNulls
)

func layouts() []layout { return []layout{compact, spaced, reversed, withoutNulls} }

func (l layout) String() string {
	return [...]string{"compact", "with white space", "in reversed order", "without nulls"}[l]
}

// received is the default time of receipt.
func received() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 987_654_321, time.UTC) }

func (d draft) newEvent() chargeingest.NewEvent {
	if d.received.IsZero() {
		d.received = received()
	}
	if d.productItemID == "" {
		d.productItemID = "item"
	}
	// The digest covers the content before a timestamp is assigned.
	content := d.content()
	digest := sha256.Sum256([]byte(content))
	assigned := d.timestamp == ""
	if assigned {
		d.timestamp = d.assignedTimestamp()
		content = d.content()
	}
	// RFC 3339 allows lower-case letters, time.Parse does not.
	instant, err := time.Parse(time.RFC3339Nano, strings.ToUpper(d.timestamp))
	if err != nil {
		panic(fmt.Sprintf("storetest: a case has a malformed timestamp: %v", err))
	}
	return chargeingest.NewEvent{
		Content:                          content,
		Reference:                        d.reference,
		CustomerID:                       d.customerID,
		CustomerReference:                d.customerReference,
		PricingPlanSubscriptionID:        d.subscriptionID,
		PricingPlanSubscriptionReference: d.subscriptionReference,
		ProductItemID:                    d.productItemID,
		Timestamp:                        instant,
		TimestampAssigned:                assigned,
		ReceivedAt:                       d.received,
		Digest:                           digest,
	}
}

func (d draft) assignedTimestamp() string {
	if d.received.IsZero() {
		d.received = received()
	}
	return d.received.UTC().Format(time.RFC3339)
}

type field struct{ name, value string }

func (d draft) content() string {
	number := d.number
	if number == "" {
		number = "1.10"
	}
	fields := []field{
		{"product_item_id", quote(d.productItemID)},
		{"pricing_id", `"pricing"`},
		{"pricing_item_id", `"pricing-item"`},
		{"pricing_item_config_id", `"pricing-item-config"`},
		{"customer_id", nullable(d.customerID)},
		{"customer_reference", nullable(d.customerReference)},
		{"pricing_plan_subscription_id", nullable(d.subscriptionID)},
		{"pricing_plan_subscription_reference", nullable(d.subscriptionReference)},
		{"reference", nullable(d.reference)},
		{"description", "null"},
		{"value", d.layout.object(
			field{"number", quote(number)},
			field{"reference", "null"},
			field{"amount", d.layout.object(field{"quantity", `"-0.00"`}, field{"currency", `"EUR"`})},
		)},
		{"timestamp", nullable(d.timestamp)},
	}
	if d.extra != "" {
		fields = append(fields, field{"extra", d.extra})
	}
	return d.layout.object(fields...)
}

func (l layout) object(fields ...field) string {
	open, colon, comma := "{", ":", ","
	switch l {
	case compact:
	case spaced:
		open, colon, comma = "{\n\t", " : ", "\r\n\t, "
	case reversed:
		slices.Reverse(fields)
	case withoutNulls:
		fields = slices.DeleteFunc(fields, func(m field) bool { return m.value == "null" })
	}
	texts := make([]string, len(fields))
	for i, m := range fields {
		texts[i] = quote(m.name) + colon + m.value
	}
	return open + strings.Join(texts, comma) + "}"
}

func quote(s string) string {
	text, _ := json.Marshal(s) // cannot fail for a string
	return string(text)
}

func nullable(s string) string {
	if s == "" {
		return "null"
	}
	return quote(s)
}

func batch(platform string, drafts ...draft) chargeingest.Batch {
	b := chargeingest.Batch{Platform: platform, Route: chargeingest.RouteBatch}
	if len(drafts) == 1 {
		b.Route = chargeingest.RouteSingle
	}
	h := sha256.New()
	h.Write([]byte(b.Route))
	for _, d := range drafts {
		e := d.newEvent()
		h.Write(e.Digest[:])
		b.Events = append(b.Events, e)
	}
	copy(b.Digest[:], h.Sum(nil))
	return b
}

func keyed(key string, b chargeingest.Batch) chargeingest.Batch {
	b.IdempotencyKey = key
	return b
}

func returnOriginal(b chargeingest.Batch) chargeingest.Batch {
	b.Duplicates = chargeingest.ReturnOriginal
	return b
}

func referenced(prefix string, n int) []draft {
	drafts := make([]draft, n)
	for i := range drafts {
		drafts[i] = draft{reference: fmt.Sprintf("%s-%d", prefix, i)}
	}
	return drafts
}

func matchingDraft() draft {
	return draft{
		reference: "a", customerID: "c", customerReference: "cr", subscriptionID: "s", subscriptionReference: "sr",
		productItemID: "p", timestamp: "2026-01-01T00:00:00Z",
	}
}

// Every other one of the nine mixedDrafts has the fields of matchingDraft. The order of receipt
// is not the storage order.
func mixedDrafts() []draft {
	const before, after = "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"
	drafts := make([]draft, 9)
	for i := range drafts {
		d := matchingDraft()
		if i%2 == 1 {
			d = draft{customerID: "d", customerReference: "c", subscriptionID: "sr", subscriptionReference: "s", productItemID: "q"}
		}
		d.layout = layouts()[i%4]
		d.received = received().Add(time.Duration(-i) * time.Hour)
		d.timestamp = []string{before, after, matchingDraft().timestamp, before, matchingDraft().timestamp, matchingDraft().timestamp, matchingDraft().timestamp, after, after}[i]
		if i != 4 {
			d.reference = ""
		}
		d.extra = quote(strings.Repeat("🧾", 50+i)) // more bytes than characters
		drafts[i] = d
	}
	return drafts
}

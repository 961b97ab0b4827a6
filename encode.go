package chargeingest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/rfc3339"
)

// encoder appends JSON text. The first string that is not UTF-8 stays in err;
// a decoded event has none.
type encoder struct {
	text []byte
	err  error
}

func (e *encoder) quote(s string) {
	text, err := jsontext.AppendQuote(e.text, s)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.text = text
}

// begin starts a member of the contract, whose name needs no escapes: the comma
// where one belongs, the name, the colon.
func (e *encoder) begin(name string) {
	e.comma()
	e.text = append(e.text, '"')
	e.text = append(e.text, name...)
	e.text = append(e.text, '"', ':')
}

func (e *encoder) comma() {
	if last := e.text[len(e.text)-1]; last != '{' && last != '[' {
		e.text = append(e.text, ',')
	}
}

func (e *encoder) member(name, value string) {
	e.begin(name)
	e.quote(value)
}

// nullable appends a member that is null where it is unset.
func (e *encoder) nullable(name string, value *string) {
	if value == nil {
		e.begin(name)
		e.text = append(e.text, "null"...)
		return
	}
	e.member(name, *value)
}

// optional appends a member that is left out where it is unset.
func (e *encoder) optional(name string, value *string) {
	if value != nil {
		e.member(name, *value)
	}
}

func (e *encoder) extra(members []ExtraField) {
	for _, m := range members {
		e.comma()
		e.quote(m.Name)
		e.text = append(e.text, ':')
		e.text = append(e.text, m.Value...)
	}
}

func (e *encoder) open(name string) {
	e.begin(name)
	e.text = append(e.text, '{')
}

func (e *encoder) close() { e.text = append(e.text, '}') }

// head appends what precedes the timestamp, in the contract's order.
func (e *encoder) head(ev *ChargeEvent) {
	e.member("product_item_id", ev.ProductItemID)
	e.member("pricing_id", ev.PricingID)
	e.member("pricing_item_id", ev.PricingItemID)
	e.member("pricing_item_config_id", ev.PricingItemConfigID)
	e.nullable("customer_id", ev.CustomerID)
	e.nullable("customer_reference", ev.CustomerReference)
	e.nullable("pricing_plan_subscription_id", ev.PricingPlanSubscriptionID)
	e.nullable("pricing_plan_subscription_reference", ev.PricingPlanSubscriptionReference)
	if s := ev.PricingPlanSubscriptionSelector; s != nil {
		e.selector(s)
	}
	e.nullable("reference", ev.Reference)
	e.nullable("description", ev.Description)
	if v := ev.Value; v != nil {
		e.value(v)
	}
	if p := ev.Period; p != nil {
		e.open("period")
		e.optional("start_at", p.StartAt)
		e.optional("end_at", p.EndAt)
		e.optional("ratio", p.Ratio)
		e.extra(p.Extra)
		e.close()
	}
}

func (e *encoder) value(v *Value) {
	e.open("value")
	e.optional("id", v.ID)
	e.optional("reference", v.Reference)
	e.optional("number", v.Number)
	if a := v.Amount; a != nil {
		e.open("amount")
		e.member("quantity", a.Quantity)
		e.member("currency", a.Currency)
		e.extra(a.Extra)
		e.close()
	}
	e.optional("count", v.Count)
	e.extra(v.Extra)
	e.close()
}

func (e *encoder) selector(s *Selector) {
	e.open("pricing_plan_subscription_selector")
	e.entries("data", s.Data, false)
	e.entries("rules", s.Rules, true)
	e.entries("filters", s.Filters, true)
	e.optional("fallback", s.Fallback)
	e.extra(s.Extra)
	e.close()
}

func (e *encoder) entries(name string, entries []SelectorEntry, hasType bool) {
	if entries == nil {
		return
	}
	e.begin(name)
	e.text = append(e.text, '[')
	for i := range entries {
		entry := &entries[i]
		if i > 0 {
			e.text = append(e.text, ',')
		}
		e.text = append(e.text, '{')
		e.member("field", entry.Field)
		if hasType || entry.Type != "" {
			e.member("type", entry.Type)
		}
		e.optional("value", entry.Value)
		e.extra(entry.Extra)
		e.close()
	}
	e.text = append(e.text, ']')
}

// violations appends as many as there is room for.
func (e *encoder) violations(list []Violation) {
	const ending = len("]}\n")
	e.begin("errors")
	e.text = append(e.text, '[')
	for i, v := range list[:min(len(list), maxViolations)] {
		before := len(e.text)
		if i > 0 {
			e.text = append(e.text, ',')
		}
		e.text = append(e.text, '{')
		e.member("code", string(v.Code))
		e.member("field", v.Field)
		e.member("message", v.Message)
		e.close()
		if len(e.text)+ending > maxErrorBytes {
			e.text = e.text[:before]
			break
		}
	}
	e.text = append(e.text, ']')
}

// MarshalJSON writes the event in the contract's order: every scalar member,
// null where it is unset, each object that is set without its unset members,
// and the id where there is one. It returns an error for a string that is not
// valid UTF-8, and for an extra member whose value is not exactly one JSON value
// or whose name the object already has.
func (e ChargeEvent) MarshalJSON() ([]byte, error) {
	hasExtra, bad := false, (*memberError)(nil)
	e.eachExtra(func(at string, m *ExtraField) {
		hasExtra = true
		if bad == nil {
			bad = m.check(at)
		}
	})
	if bad != nil {
		return nil, fmt.Errorf("charge event: %w", bad)
	}
	enc := encoder{text: []byte{'{'}}
	if e.ID != "" {
		enc.member("object_type", objectType)
		enc.member("id", e.ID)
	}
	enc.head(&e)
	enc.nullable("timestamp", e.Timestamp)
	enc.extra(e.Extra)
	enc.close()
	if enc.err != nil {
		return nil, fmt.Errorf("charge event: %w", enc.err)
	}
	if hasExtra {
		if bad := duplicateMember(enc.text); bad != nil {
			return nil, fmt.Errorf("charge event: %w", bad)
		}
	}
	return enc.text, nil
}

// eachExtra calls visit for each extra member, with the path of its object.
func (e *ChargeEvent) eachExtra(visit func(at string, m *ExtraField)) {
	each := func(at string, members []ExtraField) {
		for i := range members {
			visit(at, &members[i])
		}
	}
	if s := e.PricingPlanSubscriptionSelector; s != nil {
		const at = "pricing_plan_subscription_selector"
		for _, list := range []struct {
			name    string
			entries []SelectorEntry
		}{{"data", s.Data}, {"rules", s.Rules}, {"filters", s.Filters}} {
			for i := range list.entries {
				if extra := list.entries[i].Extra; len(extra) > 0 {
					each(at+"."+list.name+"."+strconv.Itoa(i), extra)
				}
			}
		}
		each(at, s.Extra)
	}
	if v := e.Value; v != nil {
		if v.Amount != nil {
			each("value.amount", v.Amount.Extra)
		}
		each("value", v.Extra)
	}
	if e.Period != nil {
		each("period", e.Period.Extra)
	}
	each("", e.Extra)
}

// memberError says what is wrong with an extra member.
type memberError struct {
	path    string // within the event, dotted
	problem string
}

func (e *memberError) Error() string { return limits.Shorten(e.path) + " " + e.problem }

// check returns what is wrong with a member of the object at a path, or nil. Its
// text would otherwise become part of the JSON around it.
func (m *ExtraField) check(at string) *memberError {
	path := jsontree.JoinPath(at, strings.ToValidUTF8(m.Name, "\ufffd"))
	switch {
	case !utf8.ValidString(m.Name):
		return &memberError{path, "must have a name that is valid UTF-8"}
	case !jsontext.Value(m.Value).IsValid():
		return &memberError{path, "must be exactly one JSON value"}
	}
	return nil
}

// duplicateMember returns the member of a JSON text that is there twice, or nil.
func duplicateMember(text []byte) *memberError {
	_, err := jsontext.NewDecoder(bytes.NewBuffer(text)).ReadValue()
	var found *jsontext.SyntacticError
	if !errors.As(err, &found) || !errors.Is(err, jsontext.ErrDuplicateName) {
		return nil
	}
	return &memberError{strings.Join(slices.Collect(found.JSONPointer.Tokens()), "."), "is there twice"}
}

// newEvents makes the records of valid events that were received at now. They
// are written into scratch first, which may be any memory or none.
func newEvents(events []ChargeEvent, now time.Time, scratch []byte) []NewEvent {
	records := make([]NewEvent, len(events))
	enc := encoder{text: scratch}
	for i := range events {
		records[i] = enc.record(&events[i], now)
	}
	return records
}

// record makes the record of an event; what is in the encoder gives way.
func (e *encoder) record(ev *ChargeEvent, now time.Time) NewEvent {
	rec := NewEvent{ReceivedAt: now, TimestampAssigned: ev.Timestamp == nil}
	var stamp string
	if rec.TimestampAssigned {
		rec.Timestamp = now.UTC().Truncate(time.Second)
		stamp = rec.Timestamp.Format(time.RFC3339)
	} else {
		stamp = *ev.Timestamp
		rec.Timestamp, _ = rfc3339.Parse(stamp) // it is valid
	}

	e.text = append(e.text[:0], '{')
	e.head(ev)
	head := len(e.text)
	e.member("timestamp", stamp)
	tail := len(e.text)
	e.extra(ev.Extra)
	e.close()
	rec.Content = string(e.text)

	// The digest is of what was sent: without a timestamp that was assigned.
	if rec.TimestampAssigned {
		sum := sha256.New()
		sum.Write(e.text[:head])
		sum.Write(e.text[tail:])
		sum.Sum(rec.Digest[:0])
	} else {
		rec.Digest = sha256.Sum256(e.text)
	}

	// In the order in which they stand there.
	rest := rec.Content
	rec.ProductItemID = cutOut(&rest, &ev.ProductItemID)
	rec.CustomerID = cutOut(&rest, ev.CustomerID)
	rec.CustomerReference = cutOut(&rest, ev.CustomerReference)
	rec.PricingPlanSubscriptionID = cutOut(&rest, ev.PricingPlanSubscriptionID)
	rec.PricingPlanSubscriptionReference = cutOut(&rest, ev.PricingPlanSubscriptionReference)
	rec.Reference = cutOut(&rest, ev.Reference)
	return rec
}

// cutOut returns a value as a part of the text that it stands in, so that a
// record does not hold the body that it came with, and cuts the text off behind
// it. What is escaped there is copied.
func cutOut(text *string, value *string) string {
	if value == nil {
		return ""
	}
	i := strings.Index(*text, *value)
	if i < 0 {
		return strings.Clone(*value)
	}
	end := i + len(*value)
	found := (*text)[i:end]
	*text = (*text)[end:]
	return found
}

// requestDigest is the fingerprint of a request that carries an idempotency key.
func requestDigest(route Route, events []NewEvent) Digest {
	sum := sha256.New()
	sum.Write([]byte(route))
	for i := range events {
		sum.Write(events[i].Digest[:])
	}
	return Digest(sum.Sum(nil))
}

// appendEvent appends a stored event as it is returned.
func appendEvent(dst []byte, ev *StoredEvent) []byte {
	dst = append(dst, eventHead...)
	dst = append(dst, ev.ID...)
	dst = append(dst, eventTail...)
	return append(dst, ev.Content[1:]...)
}

// Event decodes the stored event.
func (e *StoredEvent) Event() (ChargeEvent, error) {
	var ev ChargeEvent
	err := ev.UnmarshalJSON(appendEvent(nil, e))
	return ev, err
}

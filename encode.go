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

// err is the first string with invalid UTF-8.
type encoder struct {
	text  []byte
	plain bool // no string needs escapes
	err   error
}

func (e *encoder) quote(s string) {
	if e.plain {
		e.text = append(append(append(e.text, '"'), s...), '"')
		return
	}
	text, err := jsontext.AppendQuote(e.text, s)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.text = text
}

// name expects a name that needs no escapes.
func (e *encoder) name(name string) {
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

func (e *encoder) field(name, value string) {
	e.name(name)
	e.quote(value)
}

func (e *encoder) nullable(name string, value *string) {
	if value == nil {
		e.name(name)
		e.text = append(e.text, "null"...)
		return
	}
	e.field(name, *value)
}

func (e *encoder) optional(name string, value *string) {
	if value != nil {
		e.field(name, *value)
	}
}

func (e *encoder) extra(fields []ExtraField) {
	for _, f := range fields {
		e.comma()
		e.quote(f.Name)
		e.text = append(e.text, ':')
		e.text = append(e.text, f.Value...)
	}
}

func (e *encoder) open(name string) {
	e.name(name)
	e.text = append(e.text, '{')
}

func (e *encoder) close() { e.text = append(e.text, '}') }

func (e *encoder) head(ev *ChargeEvent) {
	e.field("product_item_id", ev.ProductItemID)
	e.field("pricing_id", ev.PricingID)
	e.field("pricing_item_id", ev.PricingItemID)
	e.field("pricing_item_config_id", ev.PricingItemConfigID)
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
		e.field("quantity", a.Quantity)
		e.field("currency", a.Currency)
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
	e.name(name)
	e.text = append(e.text, '[')
	for i := range entries {
		entry := &entries[i]
		if i > 0 {
			e.text = append(e.text, ',')
		}
		e.text = append(e.text, '{')
		e.field("field", entry.Field)
		if hasType || entry.Type != "" {
			e.field("type", entry.Type)
		}
		e.optional("value", entry.Value)
		e.extra(entry.Extra)
		e.close()
	}
	e.text = append(e.text, ']')
}

// violations appends as many violations as fit into maxErrorBytes.
func (e *encoder) violations(list []Violation) {
	const ending = len("]}\n")
	e.name("errors")
	e.text = append(e.text, '[')
	for i, v := range list[:min(len(list), maxViolations)] {
		before := len(e.text)
		if i > 0 {
			e.text = append(e.text, ',')
		}
		e.text = append(e.text, '{')
		e.field("code", string(v.Code))
		e.field("field", v.Field)
		e.field("message", v.Message)
		e.close()
		if len(e.text)+ending > maxErrorBytes {
			e.text = e.text[:before]
			break
		}
	}
	e.text = append(e.text, ']')
}

// MarshalJSON encodes the event in the contract's order: all scalar fields, null if
// unset; objects that are set, without their unset fields; and the id unless it is empty.
// It returns an error for invalid UTF-8, and for an extra field whose value is not one
// JSON value or whose name is already used.
func (e ChargeEvent) MarshalJSON() ([]byte, error) {
	hasExtra, bad := false, (*extraFieldError)(nil)
	e.eachExtra(func(at string, f *ExtraField) {
		hasExtra = true
		if bad == nil {
			bad = f.check(at)
		}
	})
	if bad != nil {
		return nil, fmt.Errorf("charge event: %w", bad)
	}
	enc := encoder{text: []byte{'{'}}
	if e.ID != "" {
		enc.field("object_type", objectType)
		enc.field("id", e.ID)
	}
	enc.head(&e)
	enc.nullable("timestamp", e.Timestamp)
	enc.extra(e.Extra)
	enc.close()
	if enc.err != nil {
		return nil, fmt.Errorf("charge event: %w", enc.err)
	}
	if hasExtra {
		if bad := duplicateField(enc.text); bad != nil {
			return nil, fmt.Errorf("charge event: %w", bad)
		}
	}
	return enc.text, nil
}

// eachExtra also passes the path of the object.
func (e *ChargeEvent) eachExtra(visit func(at string, f *ExtraField)) {
	each := func(at string, fields []ExtraField) {
		for i := range fields {
			visit(at, &fields[i])
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

type extraFieldError struct {
	path    string // within the event, dotted
	problem string
}

func (e *extraFieldError) Error() string { return limits.Shorten(e.path) + " " + e.problem }

// check rejects an extra field that would change the JSON around it.
func (f *ExtraField) check(at string) *extraFieldError {
	path := jsontree.JoinPath(at, strings.ToValidUTF8(f.Name, "\ufffd"))
	switch {
	case !utf8.ValidString(f.Name):
		return &extraFieldError{path, "must have a name that is valid UTF-8"}
	case !jsontext.Value(f.Value).IsValid():
		return &extraFieldError{path, "must be exactly one JSON value"}
	}
	return nil
}

func duplicateField(text []byte) *extraFieldError {
	_, err := jsontext.NewDecoder(bytes.NewBuffer(text)).ReadValue()
	var found *jsontext.SyntacticError
	if !errors.As(err, &found) || !errors.Is(err, jsontext.ErrDuplicateName) {
		return nil
	}
	return &extraFieldError{strings.Join(slices.Collect(found.JSONPointer.Tokens()), "."), "is a duplicate"}
}

func (e *encoder) newEvents(events []ChargeEvent, now time.Time) []NewEvent {
	list := make([]NewEvent, len(events))
	for i := range events {
		e.newEvent(&list[i], &events[i], now)
	}
	return list
}

func (e *encoder) newEvent(rec *NewEvent, ev *ChargeEvent, now time.Time) {
	rec.ReceivedAt, rec.TimestampAssigned = now, ev.Timestamp == nil
	var stamp string
	if rec.TimestampAssigned {
		rec.Timestamp = now.UTC().Truncate(time.Second)
		stamp = rec.Timestamp.Format(time.RFC3339)
	} else {
		stamp = *ev.Timestamp
		rec.Timestamp, _ = rfc3339.Parse(stamp)
	}

	e.text = append(e.text[:0], '{')
	e.head(ev)
	head := len(e.text)
	e.field("timestamp", stamp)
	tail := len(e.text)
	e.extra(ev.Extra)
	e.close()
	rec.Content = string(e.text)

	// The digest excludes an assigned timestamp.
	if rec.TimestampAssigned {
		sum := sha256.New()
		sum.Write(e.text[:head])
		sum.Write(e.text[tail:])
		sum.Sum(rec.Digest[:0])
	} else {
		rec.Digest = sha256.Sum256(e.text)
	}

	// In the order of Content.
	rest := rec.Content
	rec.ProductItemID = substring(&rest, &ev.ProductItemID)
	rec.CustomerID = substring(&rest, ev.CustomerID)
	rec.CustomerReference = substring(&rest, ev.CustomerReference)
	rec.PricingPlanSubscriptionID = substring(&rest, ev.PricingPlanSubscriptionID)
	rec.PricingPlanSubscriptionReference = substring(&rest, ev.PricingPlanSubscriptionReference)
	rec.Reference = substring(&rest, ev.Reference)
}

// substring returns value as a part of text and cuts text after it, so that the event
// does not keep the memory of the body. An escaped value is copied.
func substring(text *string, value *string) string {
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

func requestDigest(route Route, events []NewEvent) Digest {
	sum := sha256.New()
	sum.Write([]byte(route))
	for i := range events {
		sum.Write(events[i].Digest[:])
	}
	return Digest(sum.Sum(nil))
}

func appendEvent(dst []byte, ev *StoredEvent) []byte {
	dst = append(dst, eventHead...)
	dst = append(dst, ev.ID...)
	dst = append(dst, eventTail...)
	return append(dst, ev.Content[1:]...)
}

// check reports content that no response can be made of, a bug of the store.
func (e *StoredEvent) check() error {
	if !strings.HasPrefix(e.Content, "{") {
		return fmt.Errorf("stored event %q has no JSON object as its content", limits.Shorten(e.ID))
	}
	return nil
}

// Event decodes a stored event.
func (e *StoredEvent) Event() (ChargeEvent, error) {
	var ev ChargeEvent
	if err := e.check(); err != nil {
		return ev, err
	}
	err := ev.UnmarshalJSON(appendEvent(nil, e))
	return ev, err
}

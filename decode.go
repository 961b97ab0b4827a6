package chargeingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder reads charge events into structs, strictly and in one pass: names
// are case-sensitive, and the tokenizer refuses invalid UTF-8 and lone
// surrogates.
//
// It does not judge. What a struct cannot hold, it skips and marks; whether
// that is an error, and which, the schema says.
type decoder struct {
	*jsontext.Decoder

	// text is all of the input. Strings are parts of it, not copies, unless
	// they are escaped there.
	text string

	input bytes.Buffer // what Decoder reads

	// What the events of a body are made of. It is used again for the next.
	events  []ChargeEvent
	strings []string
	values  []Value
	amounts []Amount

	// keepID reads id instead of skipping it, for answers of the endpoint.
	keepID bool

	// strict ends the reading where the schema has to be asked: at members that
	// the contract does not name, or read-only ones that hold something unusual.
	strict bool

	// maxEntries bounds the lists of a selector.
	maxEntries int
}

var (
	errNeedsSchema = errors.New("the schema has to be asked")

	// errTypeMismatch is a value that does not fit the struct: of another type, null
	// where the contract has no null, there twice, or too many. The schema, or
	// the builder of the tree for it, must reject it.
	errTypeMismatch = errors.New("a member has a type that the contract does not allow")
)

// newDecoder returns a decoder whose tokenizer refuses names that are there
// twice, wherever they are.
func newDecoder(text []byte) *decoder {
	d := new(decoder)
	d.reset(text)
	return d
}

// reset begins with another text. Nothing that was read is part of the text's
// memory, but the events of the last one are gone.
func (d *decoder) reset(text []byte, options ...jsontext.Options) {
	*d = decoder{
		Decoder: d.Decoder, text: string(text), input: *bytes.NewBuffer(text),
		events: d.events[:0], strings: d.strings[:0], values: d.values[:0], amounts: d.amounts[:0],
	}
	if d.Decoder == nil {
		d.Decoder = jsontext.NewDecoder(&d.input, options...)
	} else {
		d.Reset(&d.input, options...)
	}
}

// token reads a string, which is what comes next.
func (d *decoder) token() (string, error) {
	value, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(value, '\\') >= 0 {
		unquoted, err := jsontext.AppendUnquote(nil, value)
		return string(unquoted), err
	}
	end := int(d.InputOffset())
	return d.text[end-len(value)+1 : end-1], nil
}

// object calls member with the name of each member, the value yet unread.
// A value that is not an object is a misfit.
func (d *decoder) object(member func(name string) error) error {
	if d.PeekKind() != '{' {
		return errTypeMismatch
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	// As many names as the contract has for an object. One that is beyond is
	// there twice, or beside one that the contract does not name.
	var seen [16]string
	for n := 0; d.PeekKind() == '"'; n++ {
		name, err := d.token()
		if err != nil {
			return err
		}
		if n < len(seen) {
			if slices.Contains(seen[:n], name) {
				return errTypeMismatch
			}
			seen[n] = name
		} else if d.strict {
			return errNeedsSchema
		}
		if err := member(name); err != nil {
			return err
		}
	}
	_, err := d.ReadToken() // the closing brace, or what is wrong in its place
	return err
}

// list calls entry for each entry of a list; null is an absent list.
func (d *decoder) list(entry func() error) (present bool, err error) {
	switch d.PeekKind() {
	case 'n':
		_, err := d.ReadToken()
		return false, err
	case '[':
	default:
		return false, errTypeMismatch
	}
	if _, err := d.ReadToken(); err != nil {
		return false, err
	}
	for {
		switch d.PeekKind() {
		case ']', 0:
			_, err := d.ReadToken()
			return true, err
		}
		if err := entry(); err != nil {
			return false, err
		}
	}
}

// required reads a string that is not nullable.
func (d *decoder) required(dst *string) (err error) {
	if d.PeekKind() != '"' {
		return errTypeMismatch
	}
	*dst, err = d.token()
	return err
}

// optional reads a string that may be absent and is not nullable.
func (d *decoder) optional(dst **string) error {
	*dst = alloc(&d.strings)
	return d.required(*dst)
}

// place returns the place of one more entry, zero. A chunk that is full makes
// way for a larger one; pointers into it keep it.
func alloc[T any](chunk *[]T) *T {
	if len(*chunk) == cap(*chunk) {
		*chunk = make([]T, 0, min(2*cap(*chunk)+1, 64))
	}
	*chunk = append(*chunk, *new(T))
	return &(*chunk)[len(*chunk)-1]
}

// nullable reads a string or null.
func (d *decoder) nullable(dst **string) error {
	if d.PeekKind() == 'n' {
		_, err := d.ReadToken()
		return err
	}
	return d.optional(dst)
}

// extra reads a member that the contract does not name.
func (d *decoder) extra(name string, members *[]ExtraField) error {
	if d.strict {
		return errNeedsSchema
	}
	v, err := d.ReadValue()
	if err == nil {
		*members = append(*members, ExtraField{Name: name, Value: bytes.Clone(v)})
	}
	return err
}

// readOnly skips a member that means nothing in a request.
func (d *decoder) readOnly() error {
	if kind := d.PeekKind(); kind != '"' && kind != 'n' && d.strict {
		return errNeedsSchema // a hostile number or nesting perhaps
	}
	return d.SkipValue()
}

// batch reads {"charge_datas": […]} into d.events, of them no more than most, until
// accept returns false. A member beside charge_datas is a misfit under every setting: it has no event that it
// could be kept with.
func (d *decoder) batch(most int, accept func(*ChargeEvent) bool) error {
	return d.object(func(name string) error {
		if name != batchField || d.PeekKind() == 'n' {
			return errTypeMismatch
		}
		_, err := d.list(func() error {
			if len(d.events) == most {
				return errTypeMismatch
			}
			d.events = append(d.events, ChargeEvent{})
			ev := &d.events[len(d.events)-1]
			if err := d.event(ev); err != nil {
				return err
			}
			if !accept(ev) {
				return errNeedsSchema
			}
			return nil
		})
		return err
	})
}

func (d *decoder) event(ev *ChargeEvent) error {
	return d.object(func(name string) error {
		switch name {
		case "product_item_id":
			return d.required(&ev.ProductItemID)
		case "pricing_id":
			return d.required(&ev.PricingID)
		case "pricing_item_id":
			return d.required(&ev.PricingItemID)
		case "pricing_item_config_id":
			return d.required(&ev.PricingItemConfigID)
		case "customer_id":
			return d.nullable(&ev.CustomerID)
		case "customer_reference":
			return d.nullable(&ev.CustomerReference)
		case "pricing_plan_subscription_id":
			return d.nullable(&ev.PricingPlanSubscriptionID)
		case "pricing_plan_subscription_reference":
			return d.nullable(&ev.PricingPlanSubscriptionReference)
		case "pricing_plan_subscription_selector":
			ev.PricingPlanSubscriptionSelector = new(Selector)
			return d.selector(ev.PricingPlanSubscriptionSelector)
		case "reference":
			return d.nullable(&ev.Reference)
		case "description":
			return d.nullable(&ev.Description)
		case "value":
			ev.Value = alloc(&d.values)
			return d.value(ev.Value)
		case "period":
			ev.Period = new(Period)
			return d.period(ev.Period)
		case "timestamp":
			return d.nullable(&ev.Timestamp)
		case "id":
			if d.keepID {
				return d.required(&ev.ID)
			}
			return d.readOnly()
		case "object_type":
			return d.readOnly()
		default:
			return d.extra(name, &ev.Extra)
		}
	})
}

func (d *decoder) value(v *Value) error {
	return d.object(func(name string) error {
		switch name {
		case "id":
			return d.nullable(&v.ID)
		case "reference":
			return d.nullable(&v.Reference)
		case "number":
			return d.nullable(&v.Number)
		case "amount":
			v.Amount = alloc(&d.amounts)
			return d.amount(v.Amount)
		case "count":
			return d.nullable(&v.Count)
		default:
			return d.extra(name, &v.Extra)
		}
	})
}

func (d *decoder) amount(a *Amount) error {
	return d.object(func(name string) error {
		switch name {
		case "quantity":
			return d.required(&a.Quantity)
		case "currency":
			return d.required(&a.Currency)
		default:
			return d.extra(name, &a.Extra)
		}
	})
}

func (d *decoder) period(p *Period) error {
	return d.object(func(name string) error {
		switch name {
		case "start_at":
			return d.optional(&p.StartAt)
		case "end_at":
			return d.optional(&p.EndAt)
		case "ratio":
			return d.nullable(&p.Ratio)
		default:
			return d.extra(name, &p.Extra)
		}
	})
}

func (d *decoder) selector(s *Selector) error {
	return d.object(func(name string) error {
		switch name {
		case "data":
			return d.entries(&s.Data, false, true)
		case "rules":
			return d.entries(&s.Rules, true, false)
		case "filters":
			return d.entries(&s.Filters, true, true)
		case "fallback":
			return d.nullable(&s.Fallback)
		default:
			return d.extra(name, &s.Extra)
		}
	})
}

// entries reads a list of a selector; hasType and hasValue say which members
// its entries have beside field.
func (d *decoder) entries(dst *[]SelectorEntry, hasType, hasValue bool) error {
	list := []SelectorEntry{}
	present, err := d.list(func() error {
		if len(list) == d.maxEntries {
			return errTypeMismatch
		}
		list = append(list, SelectorEntry{})
		e := &list[len(list)-1]
		return d.object(func(name string) error {
			switch {
			case name == "field":
				return d.required(&e.Field)
			case name == "type" && hasType:
				return d.required(&e.Type)
			case name == "value" && hasValue:
				return d.optional(&e.Value)
			default:
				return d.extra(name, &e.Extra)
			}
		})
	})
	if present {
		*dst = list
	}
	return err
}

// atEnd reports whether only white space is left.
func (d *decoder) atEnd() bool {
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF)
}

// UnmarshalJSON reads an event as the endpoint answers or takes it, members
// that the contract does not name included. It checks types only.
func (e *ChargeEvent) UnmarshalJSON(text []byte) error {
	d := newDecoder(text)
	d.keepID, d.maxEntries = true, math.MaxInt
	var ev ChargeEvent
	if err := d.event(&ev); err != nil {
		return fmt.Errorf("charge event: %w", err)
	}
	if !d.atEnd() {
		return errors.New("charge event: data after the JSON value")
	}
	*e = ev
	return nil
}

package chargeingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder decodes charge events in one pass. The tokenizer rejects invalid UTF-8 and lone
// surrogates. Errors only mean that a struct cannot hold the text; the schema finds the
// violations.
type decoder struct {
	*jsontext.Decoder

	text  string
	input bytes.Buffer

	// Reused for the next body.
	events  []ChargeEvent
	strings []string
	values  []Value
	amounts []Amount

	encoder encoder

	keepID bool

	// strict rejects fields that only the schema can check.
	strict bool

	maxEntries int // of each list of a selector
}

var (
	errNeedsSchema = errors.New("only the schema can check this field")

	// errTypeMismatch is a value that no struct can hold. The schema must reject it.
	errTypeMismatch = errors.New("a field has a type that the contract does not allow")
)

// reset overwrites the events of the last text. Decoded strings share memory with text,
// which must not change.
func (d *decoder) reset(text []byte, options ...jsontext.Options) {
	d.text = unsafe.String(unsafe.SliceData(text), len(text)) //nolint:gosec // see above
	d.input = *bytes.NewBuffer(text)
	d.events, d.strings, d.values, d.amounts = d.events[:0], d.strings[:0], d.values[:0], d.amounts[:0]
	d.encoder.plain = bytes.IndexByte(text, '\\') < 0 // the tokenizer rejects other invalid strings
	if d.Decoder == nil {
		d.Decoder = jsontext.NewDecoder(&d.input, options...)
	} else {
		d.Reset(&d.input, options...)
	}
}

func (d *decoder) str() (string, error) {
	value, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	if !d.encoder.plain && bytes.IndexByte(value, '\\') >= 0 {
		unquoted, err := jsontext.AppendUnquote(nil, value)
		return string(unquoted), err
	}
	end := int(d.InputOffset())
	return d.text[end-len(value)+1 : end-1], nil
}

func (d *decoder) object(field func(name string) error) error {
	if d.PeekKind() != '{' {
		return errTypeMismatch
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	// No object of the contract has more names.
	var seen [16]string
	for n := 0; d.PeekKind() == '"'; n++ {
		name, err := d.str()
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
		if err := field(name); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

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

func (d *decoder) required(dst *string) (err error) {
	if d.PeekKind() != '"' {
		return errTypeMismatch
	}
	*dst, err = d.str()
	return err
}

// optional decodes a string that can be absent, but not null.
func (d *decoder) optional(dst **string) error {
	*dst = alloc(&d.strings)
	return d.required(*dst)
}

// alloc returns a pointer into chunk, which it replaces when full, so that earlier
// pointers stay valid.
func alloc[T any](chunk *[]T) *T {
	if len(*chunk) == cap(*chunk) {
		*chunk = make([]T, 0, min(2*cap(*chunk)+1, 64))
	}
	*chunk = append(*chunk, *new(T))
	return &(*chunk)[len(*chunk)-1]
}

func (d *decoder) nullable(dst **string) error {
	if d.PeekKind() == 'n' {
		_, err := d.ReadToken()
		return err
	}
	return d.optional(dst)
}

func (d *decoder) extra(name string, fields *[]ExtraField) error {
	if d.strict {
		return errNeedsSchema
	}
	v, err := d.ReadValue()
	if err == nil {
		*fields = append(*fields, ExtraField{Name: name, Value: bytes.Clone(v)})
	}
	return err
}

func (d *decoder) readOnly() error {
	if kind := d.PeekKind(); kind != '"' && kind != 'n' && d.strict {
		return errNeedsSchema // can be an excessive number or nesting
	}
	return d.SkipValue()
}

// batch decodes {"charge_datas": […]} into d.events until accept returns false.
func (d *decoder) batch(maxEvents int, accept func(*ChargeEvent) bool) error {
	return d.object(func(name string) error {
		if name != batchField || d.PeekKind() == 'n' {
			return errTypeMismatch
		}
		_, err := d.list(func() error {
			if len(d.events) == maxEvents {
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

// entries decodes a list of a selector whose entries have the given fields.
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

func (d *decoder) atEnd() bool {
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF)
}

// UnmarshalJSON decodes an event, including unknown fields. It checks types only.
func (e *ChargeEvent) UnmarshalJSON(text []byte) error {
	d := new(decoder)
	d.reset(bytes.Clone(text))
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

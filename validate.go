package chargeingest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/schemacheck"
)

const batchField = schemacheck.BatchField

// validator turns the body of a request into events, or into the error that lists all
// violations. Most bodies take the fast path: they are decoded into structs and accepted
// by fastcheck.go. Only package schemacheck ever rejects a body.
type validator struct {
	checker   *schemacheck.Checker
	maxEvents int
	rules     schemacheck.CrossRules
	gate      *limits.Gate // bounds concurrent checks and comparisons
	decoders  sync.Pool
}

func newValidator(maxEvents int, keepUnknown bool, rules schemacheck.CrossRules) (*validator, error) {
	// One platform alone can use all CPUs and leaves one slot to others.
	gate := limits.NewGate(runtime.GOMAXPROCS(0) + 1)
	checker, err := schemacheck.New(schemacheck.Config{
		MaxEvents: maxEvents, KeepUnknownFields: keepUnknown, Rules: rules, Gate: gate,
	})
	if err != nil {
		return nil, err
	}
	return &validator{checker: checker, maxEvents: maxEvents, rules: rules, gate: gate}, nil
}

// An *Error is the response to the client.
func (v *validator) validate(ctx context.Context, platform string, body []byte, route Route, now time.Time) ([]NewEvent, error) {
	if events, ok := v.decodeNew(body, route, now, true); ok {
		return events, nil
	}
	// A decoded body can take many times the memory of the text, so none waits for a
	// slot.
	leave, err := v.gate.EnterEvenIfDone(ctx, platform)
	if err != nil {
		return nil, givenUpError(err)
	}
	defer leave()
	if err := v.check(ctx, body, route, now); err != nil {
		return nil, err
	}
	events, ok := v.decodeNew(body, route, now, false)
	if !ok {
		return nil, errors.New("the schema accepts a body that the decoder cannot read")
	}
	return events, nil
}

func (v *validator) check(ctx context.Context, body []byte, route Route, now time.Time) error {
	err := v.checker.Check(ctx, body, route == RouteBatch, now)
	var invalid *schemacheck.InvalidError
	var malformed *schemacheck.MalformedError
	switch {
	case errors.As(err, &invalid):
		violations := make([]Violation, len(invalid.Violations))
		for i, found := range invalid.Violations {
			violations[i] = Violation{Code: Code(found.Code), Field: found.Field, Message: found.Message}
		}
		return violationsError(violations)
	case errors.As(err, &malformed):
		return newError(CodeBadRequest, malformed.Message)
	case err != nil:
		return givenUpError(err)
	}
	return nil
}

func givenUpError(cause error) *Error {
	return unavailableError("the request was canceled before it was validated; nothing was stored", cause)
}

func (v *validator) decodeNew(body []byte, route Route, now time.Time, strict bool) ([]NewEvent, bool) {
	d := v.decoder()
	defer v.release(d)
	events, ok := v.decode(d, body, route, now, strict)
	if !ok {
		return nil, false
	}
	d.encoder.text = slices.Grow(d.encoder.text[:0], len(body)/max(1, len(events)))
	return d.encoder.newEvents(events, now), true
}

func (v *validator) decoder() *decoder {
	if d, ok := v.decoders.Get().(*decoder); ok {
		return d
	}
	return new(decoder)
}

func (v *validator) release(d *decoder) {
	const maxEvents, maxBytes = 16, 64 << 10
	if cap(d.events) <= maxEvents && len(d.text) <= maxBytes {
		v.decoders.Put(d)
	}
}

// If strict is set, decode stops at the first value that the schema might reject, and ok
// means that all events are valid. Otherwise ok means that the whole body was read. The
// events belong to the decoder.
func (v *validator) decode(d *decoder, body []byte, route Route, now time.Time, strict bool) (events []ChargeEvent, ok bool) {
	// The decoder detects duplicates among the names of the contract, the schema among
	// others.
	d.reset(body, jsontext.AllowDuplicateNames(true))
	d.strict, d.maxEntries = strict, maxSelectorEntries
	accept := func(ev *ChargeEvent) bool {
		return !strict || accepts(ev) && len(v.rules.Check(ev.crossFields(), now)) == 0
	}
	var err error
	if route == RouteSingle {
		d.events = append(d.events, ChargeEvent{})
		err = d.event(&d.events[0])
		ok = err == nil && accept(&d.events[0])
	} else {
		err = d.batch(v.maxEvents, accept)
		ok = err == nil && (!strict || len(d.events) > 0)
	}
	return d.events, ok && d.atEnd()
}

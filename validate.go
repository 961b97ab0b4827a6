package chargeingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"example.com/chargeingest/internal/turns"
	"example.com/chargeingest/schema"
)

// batchMember is the one member of a batch.
const batchMember = "charge_datas"

// validator turns the body of a request into events, or into the error that
// names everything that is wrong with it. It knows no HTTP and does no I/O.
//
// A body is decoded into structs and checked on the way that is fast; most
// stop there. Where the check is not sure, the JSON Schema judges a bounded
// tree of the same bytes. Only the schema, and the rules that it cannot
// express, ever reject.
type validator struct {
	single, batch *jsonschema.Schema
	rank          map[string]int // of the members of an event, in the table's order
	maxEvents     int
	keepUnknown   bool
	rules         crossRules
	slots         *turns.Gate // bounds how many bodies are judged, or compared, at a time
	decoders      sync.Pool   // of *decoder
}

func newValidator(maxEvents int, keepUnknown bool, rules crossRules) (*validator, error) {
	compiled, err := compiledSchemas()
	if err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	return &validator{
		single: compiled.single, batch: compiled.batch, rank: compiled.rank,
		maxEvents: maxEvents, keepUnknown: keepUnknown, rules: rules,
		// A platform that is alone can use all CPUs, and leaves one slot.
		slots: turns.NewGate(runtime.GOMAXPROCS(0) + 1),
	}, nil
}

// schemas are the compiled JSON Schemas. They are not changed after compilation.
type schemas struct {
	single, batch *jsonschema.Schema
	rank          map[string]int
}

// compiledSchemas compiles once a process: tests make many handlers.
var compiledSchemas = sync.OnceValues(compileSchemas)

func compileSchemas() (compiled schemas, err error) {
	c := jsonschema.NewCompiler()
	c.ExtractAnnotations = true
	for id, text := range map[string]string{
		schema.ChargeEventID:  schema.ChargeEvent(),
		schema.ChargeEventsID: schema.ChargeEvents(),
	} {
		if err := c.AddResource(id, strings.NewReader(text)); err != nil {
			return schemas{}, err
		}
	}
	if compiled.single, err = c.Compile(schema.ChargeEventID); err != nil {
		return schemas{}, err
	}
	if compiled.batch, err = c.Compile(schema.ChargeEventsID); err != nil {
		return schemas{}, err
	}
	compiled.rank, err = memberOrder(schema.ChargeEvent())
	return compiled, err
}

// memberOrder returns the place of each member in the schema's text: the
// compiled schema has them in a map.
func memberOrder(text string) (map[string]int, error) {
	rank := make(map[string]int)
	d := newDecoder([]byte(text))
	err := d.object(func(name string) error {
		if name != "properties" {
			return d.SkipValue()
		}
		return d.object(func(name string) error {
			rank[name] = len(rank)
			return d.SkipValue()
		})
	})
	return rank, err
}

// records returns the records of a body received at now, and overwrites the body.
// An error that is an *Error is the response to the client.
func (v *validator) records(ctx context.Context, platform string, body []byte, route Route, now time.Time) ([]NewEvent, error) {
	if records, ok := v.decoded(body, route, now, true); ok {
		return records, nil
	}
	// What is decoded can take many times the memory of its text, so nothing is kept
	// while waiting for a slot.
	leave, err := enter(ctx, v.slots, platform)
	if err != nil {
		return nil, givenUpError(err)
	}
	defer leave()
	if err := v.judge(ctx, body, route, now); err != nil {
		return nil, err
	}
	records, ok := v.decoded(body, route, now, false)
	if !ok {
		return nil, errors.New("the schema accepts a body that the decoder cannot read")
	}
	return records, nil
}

// decoded returns the records of a body that decode accepts, and overwrites it.
func (v *validator) decoded(body []byte, route Route, now time.Time, sure bool) ([]NewEvent, bool) {
	d := v.decoder()
	defer v.release(d)
	events, ok := v.decode(d, body, route, now, sure)
	if !ok {
		return nil, false
	}
	return newEvents(events, now, body[:0]), true
}

// enter waits for a slot. A free slot is entered also after ctx has ended: a
// client that has closed its side of the connection may wait for the response.
func enter(ctx context.Context, slots *turns.Gate, platform string) (leave func(), err error) {
	if leave, ok := slots.TryEnter(platform); ok {
		return leave, nil
	}
	return slots.Enter(ctx, platform)
}

func givenUpError(cause error) *Error {
	return unavailableError("the request was given up before it was validated; nothing was stored", cause)
}

// decoder returns one for records; release makes it available again.
func (v *validator) decoder() *decoder {
	if d, ok := v.decoders.Get().(*decoder); ok {
		return d
	}
	return new(decoder)
}

func (v *validator) release(d *decoder) {
	const events, bytes = 16, 64 << 10
	if cap(d.events) <= events && len(d.text) <= bytes {
		v.decoders.Put(d)
	}
}

// decode decodes a body. If sure is true it ends at the first thing that the schema
// might reject, and ok means that the events are valid beyond doubt; otherwise ok
// means that they are whole. They are the decoder's until it is used again.
func (v *validator) decode(d *decoder, body []byte, route Route, now time.Time, sure bool) (events []ChargeEvent, ok bool) {
	// It looks itself for names that are there twice, among those that the
	// contract has. If there are others the schema is asked, and the tokenizer of
	// its tree refuses them.
	d.reset(body, jsontext.AllowDuplicateNames(true))
	d.sureOnly, d.maxEntries = sure, maxSelectorEntries
	accept := func(ev *ChargeEvent) bool {
		return !sure || accepts(ev) && len(v.rules.check(ev.crossFields(), now)) == 0
	}
	var err error
	if route == RouteSingle {
		d.events = append(d.events, ChargeEvent{})
		err = d.event(&d.events[0])
		ok = err == nil && accept(&d.events[0])
	} else {
		err = d.batch(v.maxEvents, accept)
		ok = err == nil && (!sure || len(d.events) > 0)
	}
	return d.events, ok && d.atEnd()
}

// finding is a violation and its position in the order of the response. There can be
// many more than are returned, so that their messages lack the path that they begin
// with.
type finding struct {
	Violation
	index int // of the event in the batch, -1 beside all events
	rank  int // of the member in the table, behind it where it is not there
}

func compareFindings(a, b finding) int {
	return cmp.Or(
		cmp.Compare(a.index, b.index),
		cmp.Compare(a.rank, b.rank),
		comparePaths(a.Field, b.Field),
		cmp.Compare(a.Code, b.Code),
	)
}

// comparePaths orders dotted paths by their parts, list indexes as numbers.
func comparePaths(a, b string) int {
	for moreA, moreB := true, true; moreA && moreB; {
		var partA, partB string
		partA, a, moreA = strings.Cut(a, ".")
		partB, b, moreB = strings.Cut(b, ".")
		if c := compareParts(partA, partB); c != 0 {
			return c
		}
		if moreA != moreB {
			if moreB {
				return -1
			}
			return 1
		}
	}
	return 0
}

// compareParts orders indexes by their value, before names.
func compareParts(a, b string) int {
	switch indexA, indexB := isIndex(a), isIndex(b); {
	case indexA && indexB:
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case indexA:
		return -1
	case indexB:
		return 1
	}
	return cmp.Compare(a, b)
}

// isIndex reports whether a part of a path is a list index.
func isIndex(s string) bool {
	n, rest := digits(s)
	return n > 0 && rest == "" && (n == 1 || s[0] != '0')
}

// judge returns what is wrong with a body, nil where nothing is.
func (v *validator) judge(ctx context.Context, body []byte, route Route, now time.Time) error {
	if err := checkText(body); err != nil {
		return err
	}
	b := &treeBuilder{ctx: ctx, slots: v.slots, dec: jsontext.NewDecoder(bytes.NewBuffer(body)), keepUnknown: v.keepUnknown}
	if b.dec.PeekKind() != '{' {
		if err := b.skip("", false); err != nil {
			return b.failure(err)
		}
		return newError(CodeBadRequest, "the body must be a JSON object")
	}
	var found []finding
	var err error
	if route == RouteSingle {
		var tree any
		if tree, err = b.build(v.single, ""); err == nil {
			found = v.findings(v.single, tree, -1)
			found = append(found, v.crossFindings(tree, -1, now)...)
		}
	} else {
		found, err = v.judgeBatch(b, now)
	}
	if err != nil {
		return b.failure(err)
	}
	if _, err := b.dec.ReadToken(); !isEnd(err) {
		return newError(CodeBadRequest, fmt.Sprintf("the body goes on after its JSON value, at byte %d", b.dec.InputOffset()))
	}
	return asError(found)
}

// asError puts findings in order, one per path and code; nil for none.
func asError(found []finding) error {
	if len(found) == 0 {
		return nil
	}
	slices.SortStableFunc(found, compareFindings)
	found = slices.CompactFunc(found, func(a, b finding) bool { return a.Field == b.Field && a.Code == b.Code })
	violations := make([]Violation, 0, min(len(found), maxViolations))
	for _, f := range found[:min(len(found), maxViolations)] {
		f.Field = shorten(f.Field)
		f.Message = f.Field + f.Message
		violations = append(violations, f.Violation)
	}
	return violationsError(violations)
}

// checkText finds what makes a body no JSON at all.
func checkText(body []byte) error {
	switch {
	case len(bytes.TrimLeft(body, " \t\r\n")) == 0:
		return newError(CodeBadRequest, "the body is empty; it must be a JSON object")
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return newError(CodeBadRequest, "the body starts with a byte-order mark; send the JSON without it")
	case !utf8.Valid(body):
		return newError(CodeBadRequest, "the body is not valid UTF-8")
	}
	return nil
}

// judgeBatch judges each event in a batch of its own, so that the tree of one
// event at a time is in memory, and no more are judged once the answer is full.
func (v *validator) judgeBatch(b *treeBuilder, now time.Time) ([]finding, error) {
	if _, err := b.dec.ReadToken(); err != nil {
		return nil, err
	}
	var found []finding
	wrapper := make(map[string]any)
	var unknown firstNames
	judged := false
	for b.dec.PeekKind() == '"' {
		tok, err := b.token()
		if err != nil {
			return nil, err
		}
		name := tok.String()
		if name != batchMember || b.dec.PeekKind() != '[' {
			value, err := b.build(v.batch.Properties[name], name)
			if err != nil {
				return nil, err
			}
			if name == batchMember {
				wrapper[name] = value
			} else {
				unknown.add(name)
			}
			continue
		}
		count, err := b.list(func(i int) error {
			if i >= v.maxEvents {
				return b.skip(batchMember, true)
			}
			at := joinPath(batchMember, strconv.Itoa(i))
			tree, err := b.build(v.single, at)
			if err == nil && len(found) < maxViolations {
				found = append(found, v.findings(v.batch, map[string]any{batchMember: []any{tree}}, i)...)
				found = append(found, v.crossFindings(tree, i, now)...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if count > v.maxEvents {
			found = append(found, finding{index: -1, Violation: Violation{
				Code: CodeInvalidField, Field: batchMember,
				Message: fmt.Sprintf(" must have at most %d events, it has %d", v.maxEvents, count),
			}})
		}
		if judged = count > 0; !judged {
			wrapper[batchMember] = []any{}
		}
	}
	if _, err := b.dec.ReadToken(); err != nil {
		return nil, err
	}
	unknown.addTo(wrapper)
	beside := v.findings(v.batch, wrapper, -1)
	if judged {
		// The events are not in the wrapper, they were judged one by one.
		beside = slices.DeleteFunc(beside, func(f finding) bool { return f.Code == CodeMissingField })
	}
	return append(found, beside...), nil
}

// findings are what the schema objects to in a tree. With an index of 0 or
// more the tree is a batch of one event, which has that index in the request.
func (v *validator) findings(s *jsonschema.Schema, tree any, index int) []finding {
	err := s.Validate(tree)
	var verdict *jsonschema.ValidationError
	if !errors.As(err, &verdict) {
		return nil
	}
	var found []finding
	for _, leaf := range leaves(nil, verdict) {
		var at []string
		if leaf.InstanceLocation != "" {
			at = strings.Split(leaf.InstanceLocation[1:], "/")
		}
		place, value := locate(s, tree, at)
		if index >= 0 && len(at) > 1 {
			at[1] = strconv.Itoa(index)
		}
		keyword := leaf.KeywordLocation[strings.LastIndexByte(leaf.KeywordLocation, '/')+1:]
		for _, violation := range v.violations(keyword, strings.Join(at, "."), place, value) {
			found = append(found, finding{Violation: violation, index: index, rank: v.rankOf(violation.Field, s == v.batch)})
		}
	}
	return found
}

// rankOf is the rank of the member of the event that a path leads into.
func (v *validator) rankOf(path string, inBatch bool) int {
	parts := strings.SplitN(path, ".", 4)
	if inBatch {
		parts = parts[min(2, len(parts)):]
	}
	if len(parts) == 0 {
		return -1 // the event itself
	}
	if rank, ok := v.rank[parts[0]]; ok {
		return rank
	}
	return len(v.rank)
}

// leaves appends the errors that have no causes.
func leaves(list []*jsonschema.ValidationError, e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return append(list, e)
	}
	for _, cause := range e.Causes {
		list = leaves(list, cause)
	}
	return list
}

// locate returns the schema and the value of a place in a tree.
func locate(s *jsonschema.Schema, tree any, at []string) (*jsonschema.Schema, any) {
	s = resolve(s)
	for _, part := range at {
		switch t := tree.(type) {
		case map[string]any:
			s, tree = resolve(s.Properties[part]), t[part]
		case []any:
			i, _ := strconv.Atoi(part)
			s, tree = resolve(s.Items2020), t[i]
		}
	}
	return s, tree
}

// resolve follows references to the definition that has the rule.
func resolve(s *jsonschema.Schema) *jsonschema.Schema {
	for s != nil && s.Ref != nil {
		s = s.Ref
	}
	return s
}

// violations words, without the paths, what a keyword of the schema objects to. The schema's own
// description says what is valid; see the comment in its text.
func (v *validator) violations(keyword, path string, place *jsonschema.Schema, value any) []Violation {
	switch keyword {
	case "required":
		var list []Violation
		for _, name := range place.Required {
			if _, ok := value.(map[string]any)[name]; !ok {
				list = append(list, Violation{Code: CodeMissingField, Field: joinPath(path, name),
					Message: " is missing; it must be " + resolve(place.Properties[name]).Description})
			}
		}
		return list
	case "additionalProperties":
		// A batch's own members cannot be kept: they belong to no event.
		if v.keepUnknown && place != v.batch {
			return nil
		}
		known := " is not a known field; known here are " + strings.Join(slices.Sorted(maps.Keys(place.Properties)), ", ")
		var list []Violation
		for name := range value.(map[string]any) {
			if place.Properties[name] == nil {
				list = append(list, Violation{Code: CodeInvalidField, Field: joinPath(path, name), Message: known})
			}
		}
		return list
	}
	message := " must be " + place.Description
	if _, ok := value.(numberToken); ok && slices.Contains(place.Types, "string") {
		message += "; it was sent as a JSON number: send it as a quoted string"
	}
	return []Violation{{Code: CodeInvalidField, Field: path, Message: message}}
}

// crossFindings are what the rules beyond the schema object to in a tree.
func (v *validator) crossFindings(tree any, index int, now time.Time) []finding {
	event, ok := tree.(map[string]any)
	if !ok {
		return nil
	}
	period, _ := event["period"].(map[string]any)
	reference := member(event, "reference")
	if reference == nil && event["reference"] != nil {
		reference = new("malformed") // the schema's finding, not a missing field too
	}
	fields := crossFields{
		reference: reference, timestamp: member(event, "timestamp"),
		startAt: member(period, "start_at"), endAt: member(period, "end_at"),
	}
	var found []finding
	for _, violation := range v.rules.check(fields, now) {
		f := finding{Violation: violation, index: index, rank: v.rankOf(violation.Field, false)}
		if index >= 0 {
			f.Field = joinPath(joinPath(batchMember, strconv.Itoa(index)), f.Field)
		}
		found = append(found, f)
	}
	return found
}

// member is a string member of a tree, nil where it is not there or no string.
func member(object map[string]any, name string) *string {
	if s, ok := object[name].(string); ok {
		return &s
	}
	return nil
}

// joinPath makes the dotted path of a member or entry.
func joinPath(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

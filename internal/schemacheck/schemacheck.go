// Package schemacheck validates request bodies against the JSON Schema and the rules that
// a schema cannot express.
package schemacheck

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/schema"
)

// BatchField is the only field of a batch.
const BatchField = "charge_datas"

// Config configures a [Checker].
type Config struct {
	MaxEvents         int // of a batch
	KeepUnknownFields bool
	Rules             CrossRules

	// Callers of Check hold the Gate. A check ends early if its context has ended and others
	// wait.
	Gate *limits.Gate
}

// Checker validates bodies. It is safe for concurrent use.
type Checker struct {
	Config
	schemas
}

// New returns a checker. An error means a bug in the embedded schemas.
func New(cfg Config) (*Checker, error) {
	compiled, err := compiledSchemas()
	if err != nil {
		return nil, fmt.Errorf("compile JSON Schema: %w", err)
	}
	return &Checker{cfg, compiled}, nil
}

type schemas struct {
	event, batch *jsonschema.Schema
	rank         map[string]int // of the fields of an event, in the contract's order
}

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
	if compiled.event, err = c.Compile(schema.ChargeEventID); err != nil {
		return schemas{}, err
	}
	if compiled.batch, err = c.Compile(schema.ChargeEventsID); err != nil {
		return schemas{}, err
	}
	compiled.rank, err = fieldOrder(schema.ChargeEvent())
	return compiled, err
}

func fieldOrder(text string) (map[string]int, error) {
	rank := make(map[string]int)
	d := jsontext.NewDecoder(strings.NewReader(text))
	err := eachField(d, func(name string) error {
		if name != "properties" {
			return d.SkipValue()
		}
		return eachField(d, func(name string) error {
			rank[name] = len(rank)
			return d.SkipValue()
		})
	})
	return rank, err
}

func eachField(d *jsontext.Decoder, visit func(name string) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := visit(name.String()); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// Check returns nil, an [*InvalidError], a [*MalformedError], or an [ErrGivenUp].
func (c *Checker) Check(ctx context.Context, body []byte, isBatch bool, now time.Time) error {
	if err := checkText(body); err != nil {
		return err
	}
	b := &treeBuilder{ctx: ctx, gate: c.Gate, dec: jsontext.NewDecoder(bytes.NewBuffer(body)), keepUnknown: c.KeepUnknownFields}
	if b.dec.PeekKind() != '{' {
		if err := b.skip("", false); err != nil {
			return asMalformed(err)
		}
		return &MalformedError{"the body must be a JSON object"}
	}
	var found []finding
	var err error
	if isBatch {
		found, err = c.checkBatch(b, now)
	} else {
		var tree any
		if tree, err = b.build(c.event, ""); err == nil {
			found = c.findings(c.event, tree, -1)
			found = append(found, c.crossFindings(tree, -1, now)...)
		}
	}
	if err != nil {
		return asMalformed(err)
	}
	if _, err := b.dec.ReadToken(); !isEnd(err) {
		return &MalformedError{fmt.Sprintf("data after the JSON value at byte %d", b.dec.InputOffset())}
	}
	return asInvalid(found)
}

func checkText(body []byte) error {
	switch {
	case len(bytes.TrimLeft(body, " \t\r\n")) == 0:
		return &MalformedError{"the body is empty; it must be a JSON object"}
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return &MalformedError{"the body starts with a byte-order mark; send the JSON without it"}
	case !utf8.Valid(body):
		return &MalformedError{"the body is not valid UTF-8"}
	}
	return nil
}

// checkBatch has the tree of one event in memory. It stops when the response is full.
func (c *Checker) checkBatch(b *treeBuilder, now time.Time) ([]finding, error) {
	if _, err := b.dec.ReadToken(); err != nil {
		return nil, err
	}
	var found []finding
	wrapper := make(map[string]any) // the batch without its events
	var unknown firstNames
	hasEvents := false
	for b.dec.PeekKind() == '"' {
		tok, err := b.token()
		if err != nil {
			return nil, err
		}
		name := tok.String()
		if name != BatchField || b.dec.PeekKind() != '[' {
			value, err := b.build(c.batch.Properties[name], name)
			if err != nil {
				return nil, err
			}
			if name == BatchField {
				wrapper[name] = value
			} else {
				unknown.add(name)
			}
			continue
		}
		count, err := b.list(func(i int) error {
			if i >= c.MaxEvents {
				return b.skip(BatchField, true)
			}
			tree, err := b.build(c.event, jsontree.JoinPath(BatchField, strconv.Itoa(i)))
			if err == nil && len(found) < MaxViolations {
				found = append(found, c.findings(c.batch, map[string]any{BatchField: []any{tree}}, i)...)
				found = append(found, c.crossFindings(tree, i, now)...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if count > c.MaxEvents {
			found = append(found, finding{index: -1, Violation: Violation{
				Code: InvalidField, Field: BatchField,
				Message: fmt.Sprintf(" must have at most %d events, but has %d", c.MaxEvents, count),
			}})
		}
		if hasEvents = count > 0; !hasEvents {
			wrapper[BatchField] = []any{}
		}
	}
	if _, err := b.dec.ReadToken(); err != nil {
		return nil, err
	}
	unknown.addTo(wrapper)
	ofWrapper := c.findings(c.batch, wrapper, -1)
	if hasEvents {
		ofWrapper = slices.DeleteFunc(ofWrapper, func(f finding) bool { return f.Code == MissingField })
	}
	return append(found, ofWrapper...), nil
}

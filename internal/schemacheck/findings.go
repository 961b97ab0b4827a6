package schemacheck

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
)

// MaxViolations bounds the violations of one response.
const MaxViolations = 100

// Code is an error code of the contract.
type Code string

// The codes of violations.
const (
	MissingField Code = "MISSING_FIELD"
	InvalidField Code = "INVALID_FIELD"
)

// Violation is one rule that a body breaks.
type Violation struct {
	Code    Code
	Field   string // dotted path
	Message string // starts with the path
}

// InvalidError reports a body that breaks rules of the contract.
type InvalidError struct {
	// Violations are in the contract's order, 1 to MaxViolations, one per path and code.
	Violations []Violation
}

func (e *InvalidError) Error() string { return e.Violations[0].Message }

// finding is a violation with its position in the response, without the path in its message.
type finding struct {
	Violation
	index int // of the event in the batch; -1 outside of the events
	rank  int // of the field in the contract's order; unknown fields come last
}

func compareFindings(a, b finding) int {
	return cmp.Or(
		cmp.Compare(a.index, b.index),
		cmp.Compare(a.rank, b.rank),
		jsontree.ComparePaths(a.Field, b.Field),
		cmp.Compare(a.Code, b.Code),
	)
}

func asInvalid(found []finding) error {
	if len(found) == 0 {
		return nil
	}
	slices.SortStableFunc(found, compareFindings)
	type key struct {
		field string
		code  Code
	}
	listed := make(map[key]bool)
	var violations []Violation
	for _, f := range found {
		path := limits.Shorten(f.Field)
		if listed[key{path, f.Code}] {
			continue
		}
		if len(violations) == MaxViolations {
			break
		}
		listed[key{path, f.Code}] = true
		f.Field = path
		if path == "" {
			path = `""` // an empty name
		}
		f.Message = path + f.Message
		violations = append(violations, f.Violation)
	}
	return &InvalidError{violations}
}

// If index is not negative, tree is a batch with only this event of the request.
func (c *Checker) findings(s *jsonschema.Schema, tree any, index int) []finding {
	err := s.Validate(tree)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	var found []finding
	for _, leaf := range leaves(nil, invalid) {
		var at []string
		if leaf.InstanceLocation != "" {
			at = strings.Split(leaf.InstanceLocation[1:], "/")
		}
		rule, value := locate(s, tree, at)
		if index >= 0 && len(at) > 1 {
			at[1] = strconv.Itoa(index)
		}
		keyword := leaf.KeywordLocation[strings.LastIndexByte(leaf.KeywordLocation, '/')+1:]
		for _, v := range c.violations(keyword, strings.Join(at, "."), rule, value) {
			found = append(found, finding{Violation: v, index: index, rank: c.rankOf(v.Field, s == c.batch)})
		}
	}
	return found
}

func (c *Checker) rankOf(path string, inBatch bool) int {
	parts := strings.SplitN(path, ".", 4)
	if inBatch {
		parts = parts[min(2, len(parts)):]
	}
	if len(parts) == 0 {
		return -1 // the event itself
	}
	if rank, ok := c.rank[parts[0]]; ok {
		return rank
	}
	return len(c.rank)
}

func leaves(list []*jsonschema.ValidationError, e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return append(list, e)
	}
	for _, cause := range e.Causes {
		list = leaves(list, cause)
	}
	return list
}

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

func resolve(s *jsonschema.Schema) *jsonschema.Schema {
	for s != nil && s.Ref != nil {
		s = s.Ref
	}
	return s
}

// violations reports a keyword of the schema, whose description states the valid form.
func (c *Checker) violations(keyword, path string, rule *jsonschema.Schema, value any) []Violation {
	switch keyword {
	case "required":
		var list []Violation
		for _, name := range rule.Required {
			if _, ok := value.(map[string]any)[name]; !ok {
				list = append(list, Violation{MissingField, jsontree.JoinPath(path, name),
					" is missing; it must be " + resolve(rule.Properties[name]).Description})
			}
		}
		return list
	case "additionalProperties":
		if c.KeepUnknownFields && rule != c.batch {
			return nil
		}
		message := " is not a known field; the known fields are " + strings.Join(slices.Sorted(maps.Keys(rule.Properties)), ", ")
		var list []Violation
		for name := range value.(map[string]any) {
			if rule.Properties[name] == nil {
				list = append(list, Violation{InvalidField, jsontree.JoinPath(path, name), message})
			}
		}
		return list
	}
	message := " must be " + rule.Description
	if _, ok := value.(numberToken); ok && slices.Contains(rule.Types, "string") {
		message += "; it was sent as a JSON number: send it as a quoted string"
	}
	return []Violation{{InvalidField, path, message}}
}

func (c *Checker) crossFindings(tree any, index int, now time.Time) []finding {
	event, ok := tree.(map[string]any)
	if !ok {
		return nil
	}
	period, _ := event["period"].(map[string]any)
	reference := stringField(event, "reference")
	if reference == nil && event["reference"] != nil {
		reference = new("malformed") // not missing too
	}
	fields := CrossFields{
		Reference: reference, Timestamp: stringField(event, "timestamp"),
		StartAt: stringField(period, "start_at"), EndAt: stringField(period, "end_at"),
	}
	var found []finding
	for _, v := range c.Rules.Check(fields, now) {
		f := finding{Violation: v, index: index, rank: c.rankOf(v.Field, false)}
		if index >= 0 {
			f.Field = jsontree.JoinPath(jsontree.JoinPath(BatchField, strconv.Itoa(index)), f.Field)
		}
		found = append(found, f)
	}
	return found
}

func stringField(object map[string]any, name string) *string {
	if s, ok := object[name].(string); ok {
		return &s
	}
	return nil
}

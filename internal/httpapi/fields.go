package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

// Fields reads a JSON object or a query, and collects violations.
type Fields struct {
	path       string // ends with a dot unless empty
	Values     map[string]string
	isQuery    bool
	known      []string
	Violations *[]chargeingest.Violation
}

// As for events.
const maxViolations = 100

func newFields(path string, values map[string]string) *Fields {
	return &Fields{path: path, Values: values, Violations: new([]chargeingest.Violation)}
}

// QueryFields reads a query.
func QueryFields(query string) *Fields {
	f := newFields("", make(map[string]string))
	f.isQuery = true
	values, err := url.ParseQuery(query)
	if err != nil {
		f.Reject("query", "must be NAME=VALUE pairs, separated by &")
	}
	for name, list := range values {
		f.Values[name] = list[0]
		if len(list) > 1 {
			f.Reject(name, "must be given once")
		}
	}
	return f
}

func bodyFields(body []byte) (*Fields, error) {
	var object map[string]json.RawMessage
	err := json.Unmarshal(body, &object)
	if typeError := new(json.UnmarshalTypeError); errors.As(err, &typeError) || err == nil && object == nil {
		return nil, errors.New("the body must be a JSON object")
	}
	if err == nil && !utf8.Valid(body) {
		err = errors.New("invalid UTF-8")
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber() // not all fit in a float64
		err = findDuplicate(d)
	}
	if err != nil {
		return nil, fmt.Errorf("the body must be one JSON object: %w", err)
	}
	return newFields("", texts(object)), nil
}

func texts(object map[string]json.RawMessage) map[string]string {
	values := make(map[string]string, len(object))
	for name, text := range object {
		values[name] = string(text)
	}
	return values
}

func findDuplicate(d *json.Decoder) error {
	token, err := d.Token()
	delimiter, nested := token.(json.Delim)
	if err != nil || !nested {
		return err
	}
	names := make(map[any]bool)
	for d.More() {
		if delimiter == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if names[name] {
				return fmt.Errorf("the name %q occurs twice in an object", name)
			}
			names[name] = true
		}
		if err := findDuplicate(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// Reject adds a violation; requirement follows the name.
func (f *Fields) Reject(name, requirement string) {
	f.Add(chargeingest.CodeInvalidField, name, requirement)
}

// Add is Reject with another code.
func (f *Fields) Add(code chargeingest.Code, name, problem string) {
	if len(*f.Violations) == maxViolations {
		return
	}
	path := limits.Shorten(f.path + name)
	*f.Violations = append(*f.Violations, chargeingest.Violation{Code: code, Field: path, Message: path + " " + problem})
}

// Get returns the text of a query field, or its JSON.
func (f *Fields) Get(name string) (text string, ok bool) {
	f.known = append(f.known, name)
	text, ok = f.Values[name]
	return text, ok
}

// Has reports whether the field is given.
func (f *Fields) Has(name string) bool {
	_, ok := f.Values[name]
	return ok
}

// Given returns which of the fields are given.
func (f *Fields) Given(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !f.Has(name) })
}

// Require rejects a missing field.
func (f *Fields) Require(name string) {
	if !f.Has(name) {
		f.Add(chargeingest.CodeMissingField, name, "is required")
	}
}

// RejectUnknown rejects the fields that were not read.
func (f *Fields) RejectUnknown() {
	slices.Sort(f.known)
	for _, name := range slices.Sorted(maps.Keys(f.Values)) {
		if slices.Contains(f.known, name) {
			continue
		}
		hint := "is unknown: there is none here"
		if len(f.known) > 0 {
			hint = "is unknown: valid here are " + strings.Join(f.known, ", ")
		}
		f.Reject(name, hint)
	}
}

// Check comes after the reading of all fields.
func (f *Fields) Check() error {
	f.RejectUnknown()
	return f.Err()
}

// Err returns the violations, if any, as one error.
func (f *Fields) Err() error {
	list := *f.Violations
	list = list[:min(len(list), maxViolations)]
	if len(list) == 0 {
		return nil
	}
	return &chargeingest.Error{
		Status: 400, Code: list[0].Code, Message: list[0].Message, Field: list[0].Field, Violations: list,
	}
}

// Text reads a string.
func (f *Fields) Text(name string) (text string, ok bool) {
	text, ok = f.Get(name)
	if ok && !f.unquote(&text) {
		f.Reject(name, "must be a string")
		return "", false
	}
	return text, ok
}

func (f *Fields) unquote(text *string) bool {
	return f.isQuery || strings.HasPrefix(*text, `"`) && json.Unmarshal([]byte(*text), text) == nil
}

// Choice reads one of the strings.
func (f *Fields) Choice(name string, choices ...string) string {
	text, ok := f.Text(name)
	if ok && !slices.Contains(choices, text) {
		f.Reject(name, "must be one of "+strings.Join(choices, ", "))
	}
	return text
}

// MaxWhole is the largest integer that all JSON parsers keep.
const MaxWhole = 1<<53 - 1

// Whole reads a number.
func (f *Fields) Whole(name string, least, most int) (n int, ok bool) {
	text, ok := f.Get(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		limit := fmt.Sprintf("from %d to %d", least, most)
		if most == MaxWhole {
			limit = fmt.Sprintf("of %d or more", least)
		}
		f.Reject(name, "must be a whole number "+limit)
		return 0, false
	}
	return n, true
}

// Flag reads a boolean.
func (f *Fields) Flag(name string) (value, ok bool) {
	text, ok := f.Get(name)
	if ok && text != "true" && text != "false" {
		f.Reject(name, "must be true or false")
	}
	return text == "true", ok
}

// Duration reads a duration such as "1.5s".
func (f *Fields) Duration(name string, least, most time.Duration) (d time.Duration, ok bool) {
	text, ok := f.Get(name)
	if !ok {
		return 0, false
	}
	isText := f.unquote(&text)
	d, err := time.ParseDuration(text)
	if !isText || err != nil || d < least || d > most {
		limit := "of 0 or more"
		switch {
		case most < MaxDuration:
			limit = fmt.Sprintf("from %s to %s", least, most)
		case least > 0:
			limit = "of more than 0"
		}
		f.Reject(name, `must be a duration `+limit+`, such as "1.5s" or "10m"`)
		return 0, false
	}
	return d, true
}

// MaxDuration as the bound of Duration means none.
const MaxDuration = time.Duration(1<<63 - 1)

// Object reads an object, whose violations count for f.
func (f *Fields) Object(name string) (inner *Fields, ok bool) {
	text, ok := f.Get(name)
	if !ok {
		return nil, false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		f.Reject(name, "must be an object")
		return nil, false
	}
	return &Fields{path: f.path + name + ".", Values: texts(object), Violations: f.Violations}, true
}

// Texts reads a list of strings that are not empty.
func (f *Fields) Texts(name string) []string {
	text, ok := f.Get(name)
	var list []*string
	if ok && (json.Unmarshal([]byte(text), &list) != nil || list == nil) {
		f.Reject(name, "must be a list of strings")
	}
	entries := make([]string, len(list))
	for i, entry := range list {
		if entry == nil || *entry == "" {
			f.Reject(name, "must be a list of strings that are not empty")
			return nil
		}
		entries[i] = *entry
	}
	return entries
}

package chargetest

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

type fields struct {
	path       string // ends with a dot unless empty
	values     map[string]string
	isQuery    bool
	known      []string
	violations *[]chargeingest.Violation
}

func newFields(path string, values map[string]string) *fields {
	return &fields{path: path, values: values, violations: new([]chargeingest.Violation)}
}

func queryFields(query string) *fields {
	f := newFields("", make(map[string]string))
	f.isQuery = true
	values, err := url.ParseQuery(query)
	if err != nil {
		f.reject("query", "must be NAME=VALUE pairs, separated by &")
	}
	for name, list := range values {
		f.values[name] = list[0]
		if len(list) > 1 {
			f.reject(name, "must be given once")
		}
	}
	return f
}

func bodyFields(body []byte) (*fields, error) {
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

// findDuplicate needs valid JSON.
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

func (f *fields) reject(name, requirement string) {
	f.add(chargeingest.CodeInvalidField, name, requirement)
}

func (f *fields) add(code chargeingest.Code, name, problem string) {
	if len(*f.violations) == maxViolations {
		return
	}
	path := limits.Shorten(f.path + name)
	*f.violations = append(*f.violations, chargeingest.Violation{Code: code, Field: path, Message: path + " " + problem})
}

func (f *fields) get(name string) (text string, ok bool) {
	f.known = append(f.known, name)
	text, ok = f.values[name]
	return text, ok
}

func (f *fields) has(name string) bool {
	_, ok := f.values[name]
	return ok
}

func (f *fields) given(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !f.has(name) })
}

func (f *fields) require(name string) {
	if !f.has(name) {
		f.add(chargeingest.CodeMissingField, name, "is required")
	}
}

func (f *fields) rejectUnknown() {
	slices.Sort(f.known)
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if slices.Contains(f.known, name) {
			continue
		}
		hint := "is unknown: there is none here"
		if len(f.known) > 0 {
			hint = "is unknown: valid here are " + strings.Join(f.known, ", ")
		}
		f.reject(name, hint)
	}
}

// check must follow the reading of all fields.
func (f *fields) check() error {
	f.rejectUnknown()
	return f.err()
}

func (f *fields) err() error {
	list := *f.violations
	list = list[:min(len(list), maxViolations)]
	if len(list) == 0 {
		return nil
	}
	return &chargeingest.Error{
		Status: 400, Code: list[0].Code, Message: list[0].Message, Field: list[0].Field, Violations: list,
	}
}

func (f *fields) text(name string) (text string, ok bool) {
	text, ok = f.get(name)
	if ok && !f.unquote(&text) {
		f.reject(name, "must be a string")
		return "", false
	}
	return text, ok
}

func (f *fields) unquote(text *string) bool {
	return f.isQuery || strings.HasPrefix(*text, `"`) && json.Unmarshal([]byte(*text), text) == nil
}

func (f *fields) choice(name string, choices ...string) string {
	text, ok := f.text(name)
	if ok && !slices.Contains(choices, text) {
		f.reject(name, "must be one of "+strings.Join(choices, ", "))
	}
	return text
}

// maxWhole is the largest integer that every JSON parser keeps.
const maxWhole = 1<<53 - 1

func (f *fields) whole(name string, least, most int) (n int, ok bool) {
	text, ok := f.get(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		limit := fmt.Sprintf("from %d to %d", least, most)
		if most == maxWhole {
			limit = fmt.Sprintf("of %d or more", least)
		}
		f.reject(name, "must be a whole number "+limit)
		return 0, false
	}
	return n, true
}

func (f *fields) flag(name string) (value, ok bool) {
	text, ok := f.get(name)
	if ok && text != "true" && text != "false" {
		f.reject(name, "must be true or false")
	}
	return text == "true", ok
}

func (f *fields) duration(name string, least, most time.Duration) (d time.Duration, ok bool) {
	text, ok := f.get(name)
	if !ok {
		return 0, false
	}
	isText := f.unquote(&text)
	d, err := time.ParseDuration(text)
	if !isText || err != nil || d < least || d > most {
		limit := "of 0 or more"
		switch {
		case most < maxDuration:
			limit = fmt.Sprintf("from %s to %s", least, most)
		case least > 0:
			limit = "of more than 0"
		}
		f.reject(name, `must be a duration `+limit+`, such as "1.5s" or "10m"`)
		return 0, false
	}
	return d, true
}

const maxDuration = time.Duration(1<<63 - 1)

func (f *fields) object(name string) (inner *fields, ok bool) {
	text, ok := f.get(name)
	if !ok {
		return nil, false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		f.reject(name, "must be an object")
		return nil, false
	}
	return &fields{path: f.path + name + ".", values: texts(object), violations: f.violations}, true
}

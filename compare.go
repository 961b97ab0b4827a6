package chargeingest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDifferences is how many differing fields an error names at most.
const maxDifferences = 100

// Differences returns the dotted paths at which a sent event differs from a
// stored one: at most 100, each at most 128 characters; none if the contents are
// the same. Contents are compared as JSON values: member order and white space
// do not matter, a null member equals an absent one, strings and numbers are
// equal if they are spelled alike, and timestamps (timestamp, period.start_at
// and period.end_at) if they are the same instant. An omitted timestamp equals
// another omitted one, and a sent timestamp may be the one that the service
// assigned.
//
// Time and memory are proportional to the size of the two contents.
func Differences(stored StoredEvent, sent *NewEvent) ([]string, error) {
	if stored.Digest == sent.Digest {
		return nil, nil
	}
	was, err := topMembers(stored.Content)
	if err != nil {
		return nil, fmt.Errorf("stored event %s: %w", stored.ID, err)
	}
	is, err := topMembers(sent.Content)
	if err != nil {
		return nil, fmt.Errorf("sent event: %w", err)
	}
	if sent.TimestampAssigned {
		is = slices.DeleteFunc(is, isTimestamp)
		if stored.TimestampAssigned {
			was = slices.DeleteFunc(was, isTimestamp)
		}
	}
	var c comparison
	if err := c.objects(location{}, was, is); err != nil && !errors.Is(err, errEnoughDifferences) {
		return nil, fmt.Errorf("compare with event %s: %w", stored.ID, err)
	}
	slices.Sort(c.paths)
	return c.paths, nil
}

func isTimestamp(m jsonMember) bool { return string(m.name) == `"timestamp"` }

// topMembers returns the members of a content.
func topMembers(content string) ([]jsonMember, error) {
	v := jsontext.Value(content)
	// In the minimal form, equal strings have equal bytes.
	if err := v.Format(jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	if v.Kind() != '{' {
		return nil, errors.New("content is not a JSON object")
	}
	return splitMembers(v)
}

// jsonMember is a member of an object, or an entry of a list without a name, in
// the minimal form.
type jsonMember struct {
	name  []byte // quoted
	value jsontext.Value
}

// splitMembers splits an object or a list.
func splitMembers(v jsontext.Value) ([]jsonMember, error) {
	var list []jsonMember
	isObject := v.Kind() == '{'
	dec := jsontext.NewDecoder(bytes.NewBuffer(v), jsontext.AllowDuplicateNames(true))
	// next returns the next value as a part of v: the decoder's own memory is
	// only valid until it goes on.
	next := func() (jsontext.Value, error) {
		text, err := dec.ReadValue()
		end := dec.InputOffset()
		return v[end-int64(len(text)) : end], err
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for {
		switch dec.PeekKind() {
		case '}', ']', 0:
			_, err := dec.ReadToken()
			return list, err
		}
		var m jsonMember
		var err error
		if isObject {
			if m.name, err = next(); err != nil {
				return nil, err
			}
		}
		if m.value, err = next(); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
}

// comparison collects the paths at which two values differ.
type comparison struct{ paths []string }

// location is where a value is in a content; the zero value is the content itself.
type location struct {
	path  string // cut as an error shows it
	depth int
}

func (l location) child(name string) location {
	if l.depth > 0 {
		name = l.path + "." + shorten(name)
	}
	return location{shorten(name), l.depth + 1}
}

// isInstant reports whether the contract has a timestamp here.
func (l location) isInstant() bool {
	return l.depth == 1 && l.path == "timestamp" ||
		l.depth == 2 && (l.path == "period.start_at" || l.path == "period.end_at")
}

var errEnoughDifferences = errors.New("enough differences")

func (c *comparison) objects(at location, was, is []jsonMember) error {
	// Retries mostly have their members in the same order.
	for len(was) > 0 && len(is) > 0 && bytes.Equal(was[0].name, is[0].name) {
		if err := c.values(at, was[0].name, was[0].value, is[0].value); err != nil {
			return err
		}
		was, is = was[1:], is[1:]
	}
	byName := func(a, b jsonMember) int { return bytes.Compare(a.name, b.name) }
	slices.SortFunc(was, byName)
	slices.SortFunc(is, byName)
	for len(was) > 0 || len(is) > 0 {
		var order int
		switch {
		case len(is) == 0:
			order = -1
		case len(was) == 0:
			order = 1
		default:
			order = byName(was[0], is[0])
		}
		var name []byte
		var before, after jsontext.Value
		if order <= 0 {
			name, before, was = was[0].name, was[0].value, was[1:]
		}
		if order >= 0 {
			name, after, is = is[0].name, is[0].value, is[1:]
		}
		if err := c.values(at, name, before, after); err != nil {
			return err
		}
	}
	return nil
}

// values compares the values of a member; an absent one is nil.
func (c *comparison) values(parent location, quoted []byte, was, is jsontext.Value) error {
	if bytes.Equal(was, is) || isNull(was) && isNull(is) {
		return nil
	}
	name, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return err
	}
	return c.at(parent.child(string(name)), was, is)
}

func isNull(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }

// at compares two values that differ in their text.
func (c *comparison) at(at location, was, is jsontext.Value) error {
	kind := was.Kind()
	if kind != is.Kind() || kind != '{' && kind != '[' {
		if at.isInstant() && sameInstant(was, is) {
			return nil
		}
		return c.differ(at)
	}
	before, err := splitMembers(was)
	if err != nil {
		return err
	}
	after, err := splitMembers(is)
	if err != nil {
		return err
	}
	if kind == '{' {
		return c.objects(at, before, after)
	}
	if len(before) != len(after) {
		return c.differ(at)
	}
	for i := range before {
		if bytes.Equal(before[i].value, after[i].value) {
			continue
		}
		if err := c.at(at.child(strconv.Itoa(i)), before[i].value, after[i].value); err != nil {
			return err
		}
	}
	return nil
}

func sameInstant(a, b jsontext.Value) bool {
	if a.Kind() != '"' || b.Kind() != '"' {
		return false
	}
	s, okS := parseDateTime(string(a[1 : len(a)-1]))
	t, okT := parseDateTime(string(b[1 : len(b)-1]))
	return okS && okT && s.Equal(t)
}

func (c *comparison) differ(at location) error {
	if !slices.Contains(c.paths, at.path) {
		c.paths = append(c.paths, at.path)
	}
	if len(c.paths) >= maxDifferences {
		return errEnoughDifferences
	}
	return nil
}

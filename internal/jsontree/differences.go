// Package jsontree compares JSON objects as values, in linear time and memory.
package jsontree

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest/internal/limits"
)

// Object is a JSON object in minimal form, in which equal strings have equal bytes.
type Object struct{ text jsontext.Value }

// ParseObject parses a text. It accepts duplicate names.
func ParseObject(text string) (Object, error) {
	v := jsontext.Value(text)
	if err := v.Format(jsontext.AllowDuplicateNames(true)); err != nil {
		return Object{}, err
	}
	if v.Kind() != '{' {
		return Object{}, errors.New("content is not a JSON object")
	}
	return Object{v}, nil
}

// Rules adjust a comparison. By default strings and numbers are equal if they are spelled
// alike, order and white space do not matter, and null equals absent.
type Rules struct {
	// MaxPaths bounds the returned paths.
	MaxPaths int

	// Equal, if set, reports whether values with different texts are equal.
	Equal func(at Location, a, b jsontext.Value) bool

	// IgnoreA and IgnoreB, if set, name top-level fields of a and b that count as absent.
	IgnoreA, IgnoreB string
}

// Differences returns the sorted dotted paths at which a and b differ, or the error of ctx.
func Differences(ctx context.Context, a, b Object, rules Rules) ([]string, error) {
	c := comparison{ctx: ctx, rules: rules}
	if err := c.values(Location{}, a.text, b.text); err != nil && !errors.Is(err, errEnoughPaths) {
		return nil, err
	}
	slices.Sort(c.paths)
	return c.paths, nil
}

type comparison struct {
	ctx   context.Context
	rules Rules
	reads int

	paths   []string
	cursors []*cursor // for reuse
}

func (c *comparison) checkContext() error {
	const interval = 4096
	if c.reads++; c.reads%interval == 0 {
		return c.ctx.Err()
	}
	return nil
}

var errEnoughPaths = errors.New("enough paths")

// Location is the position of a value; the zero value is the object.
type Location struct {
	Path  string // dotted, cut as responses show it
	Depth int
}

func (l Location) child(name string) Location {
	if l.Depth > 0 {
		name = l.Path + "." + limits.Shorten(name)
	}
	return Location{limits.Shorten(name), l.Depth + 1}
}

// values treats nil as an absent value.
func (c *comparison) values(at Location, a, b jsontext.Value) error {
	kind := a.Kind()
	switch {
	case bytes.Equal(a, b), isNull(a) && isNull(b), c.rules.Equal != nil && c.rules.Equal(at, a, b):
		return nil
	case kind != b.Kind() || kind != '{' && kind != '[':
		return c.add(at)
	}
	x, y := c.open(a), c.open(b)
	defer func() { c.cursors = append(c.cursors, x, y) }()
	if kind == '{' {
		return c.objects(at, x, y)
	}
	return c.lists(at, x, y)
}

func isNull(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }

func (c *comparison) add(at Location) error {
	if !slices.Contains(c.paths, at.Path) {
		c.paths = append(c.paths, at.Path)
	}
	if len(c.paths) >= c.rules.MaxPaths {
		return errEnoughPaths
	}
	return nil
}

func (c *comparison) lists(at Location, a, b *cursor) error {
	paths := len(c.paths)
	for i := 0; ; i++ {
		x, moreA, err := a.next()
		if err != nil {
			return err
		}
		y, moreB, err := b.next()
		if err != nil {
			return err
		}
		if moreA != moreB {
			c.paths = c.paths[:paths]
			return c.add(at)
		}
		if !moreA {
			return nil
		}
		// Unlike a null field, a null entry is not absent.
		if isNull(x.value) != isNull(y.value) {
			err = c.add(at.child(strconv.Itoa(i)))
		} else if !bytes.Equal(x.value, y.value) {
			err = c.values(at.child(strconv.Itoa(i)), x.value, y.value)
		}
		if err != nil {
			return err
		}
	}
}

// objects sorts only fields in another order.
func (c *comparison) objects(at Location, a, b *cursor) error {
	for {
		x, moreA, err := a.next()
		if err != nil {
			return err
		}
		y, moreB, err := b.next()
		if err != nil {
			return err
		}
		switch {
		case !moreA && !moreB:
			return nil
		case moreA && moreB && bytes.Equal(x.name, y.name):
			if err := c.fields(at, x.name, x.value, y.value); err != nil {
				return err
			}
			continue
		}
		restA, err := a.rest(x, moreA)
		if err != nil {
			return err
		}
		restB, err := b.rest(y, moreB)
		if err != nil {
			return err
		}
		return c.sorted(at, restA, restB)
	}
}

func (c *comparison) sorted(at Location, a, b *fieldList) error {
	slices.SortFunc(a.list, a.compare)
	slices.SortFunc(b.list, b.compare)
	for i, j := 0, 0; i < len(a.list) || j < len(b.list); {
		order := 0
		switch {
		case i == len(a.list):
			order = 1
		case j == len(b.list):
			order = -1
		default:
			order = bytes.Compare(a.name(i), b.name(j))
		}
		var name []byte
		var x, y jsontext.Value
		if order <= 0 {
			name, x = a.name(i), a.value(i)
			i++
		}
		if order >= 0 {
			name, y = b.name(j), b.value(j)
			j++
		}
		if err := c.fields(at, name, x, y); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) fields(parent Location, quoted []byte, a, b jsontext.Value) error {
	if parent.Depth == 0 {
		if isNamed(quoted, c.rules.IgnoreA) {
			a = nil
		}
		if isNamed(quoted, c.rules.IgnoreB) {
			b = nil
		}
	}
	if bytes.Equal(a, b) || isNull(a) && isNull(b) {
		return nil
	}
	name, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return err
	}
	return c.values(parent.child(string(name)), a, b)
}

func isNamed(quoted []byte, name string) bool {
	return name != "" && string(quoted[1:len(quoted)-1]) == name
}

type cursor struct {
	check    func() error
	text     jsontext.Value
	isObject bool
	dec      *jsontext.Decoder
	input    bytes.Buffer
}

type field struct {
	name  []byte // quoted
	value jsontext.Value
}

func (c *comparison) open(v jsontext.Value) *cursor {
	var r *cursor
	if n := len(c.cursors); n > 0 {
		r, c.cursors = c.cursors[n-1], c.cursors[:n-1]
	} else {
		r = &cursor{check: c.checkContext}
		r.dec = jsontext.NewDecoder(&r.input)
	}
	r.text, r.isObject, r.input = v, v.Kind() == '{', *bytes.NewBuffer(v)
	r.dec.Reset(&r.input, jsontext.AllowDuplicateNames(true))
	return r
}

// next returns parts that alias the text.
func (r *cursor) next() (m field, more bool, err error) {
	if err := r.check(); err != nil {
		return m, false, err
	}
	if r.dec.InputOffset() == 0 {
		if _, err := r.dec.ReadToken(); err != nil {
			return m, false, err
		}
	}
	switch r.dec.PeekKind() {
	case '}', ']', 0:
		return m, false, nil // the text was valid before
	}
	if r.isObject {
		if m.name, err = r.read(); err != nil {
			return m, false, err
		}
	}
	m.value, err = r.read()
	return m, err == nil, err
}

func (r *cursor) read() (jsontext.Value, error) {
	text, err := r.dec.ReadValue()
	end := r.dec.InputOffset()
	return r.text[end-int64(len(text)) : end], err
}

func (r *cursor) rest(m field, more bool) (list *fieldList, err error) {
	list = &fieldList{text: r.text}
	for more {
		end := uint32(r.dec.InputOffset())
		start := end - uint32(len(m.value))
		list.list = append(list.list, position{start - 1 - uint32(len(m.name)), start, end})
		if m, more, err = r.next(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

type fieldList struct {
	text jsontext.Value
	list []position
}

type position struct{ name, value, end uint32 }

func (l *fieldList) name(i int) []byte { return l.nameAt(l.list[i]) }

func (l *fieldList) nameAt(p position) []byte { return l.text[p.name : p.value-1] }

func (l *fieldList) value(i int) jsontext.Value { return l.text[l.list[i].value:l.list[i].end] }

func (l *fieldList) compare(a, b position) int { return bytes.Compare(l.nameAt(a), l.nameAt(b)) }

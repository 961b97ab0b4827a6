package chargeingest

import (
	"bytes"
	"context"
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
	return differences(context.Background(), stored, sent)
}

// differences is Differences until ctx ends.
func differences(ctx context.Context, stored StoredEvent, sent *NewEvent) ([]string, error) {
	if stored.Digest == sent.Digest {
		return nil, nil
	}
	was, err := minimal(stored.Content)
	if err != nil {
		return nil, fmt.Errorf("stored event %s: %w", stored.ID, err)
	}
	is, err := minimal(sent.Content)
	if err != nil {
		return nil, fmt.Errorf("sent event: %w", err)
	}
	c := comparison{
		ctx:          ctx,
		ignoreSent:   sent.TimestampAssigned,
		ignoreStored: sent.TimestampAssigned && stored.TimestampAssigned,
	}
	if err := c.values(location{}, was, is); err != nil && !errors.Is(err, errEnoughDifferences) {
		return nil, fmt.Errorf("compare with event %s: %w", stored.ID, err)
	}
	slices.Sort(c.paths)
	return c.paths, nil
}

// minimal returns a content in the minimal form, in which equal strings have equal
// bytes.
func minimal(content string) (jsontext.Value, error) {
	v := jsontext.Value(content)
	if err := v.Format(jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	if v.Kind() != '{' {
		return nil, errors.New("content is not a JSON object")
	}
	return v, nil
}

// comparison collects the paths at which two contents differ.
type comparison struct {
	ctx   context.Context
	reads int // of members

	// An assigned timestamp is ignored.
	ignoreStored, ignoreSent bool

	paths   []string
	cursors []*cursor // free ones
}

// alive returns the error of the context, every now and then.
func (c *comparison) alive() error {
	const between = 4096 // members
	if c.reads++; c.reads%between == 0 {
		return c.ctx.Err()
	}
	return nil
}

var errEnoughDifferences = errors.New("enough differences")

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

// values compares two values; nil is an absent one.
func (c *comparison) values(at location, was, is jsontext.Value) error {
	kind := was.Kind()
	switch {
	case bytes.Equal(was, is), isNull(was) && isNull(is), at.isInstant() && sameInstant(was, is):
		return nil
	case kind != is.Kind() || kind != '{' && kind != '[':
		return c.differ(at)
	}
	a, b := c.open(was), c.open(is)
	defer func() { c.cursors = append(c.cursors, a, b) }()
	if kind == '{' {
		return c.objects(at, a, b)
	}
	return c.lists(at, a, b)
}

func isNull(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }

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

// lists compares entry by entry. Lists of different lengths differ as a whole.
func (c *comparison) lists(at location, a, b *cursor) error {
	paths := len(c.paths)
	for i := 0; ; i++ {
		was, moreA, err := a.next()
		if err != nil {
			return err
		}
		is, moreB, err := b.next()
		if err != nil {
			return err
		}
		if moreA != moreB {
			c.paths = c.paths[:paths]
			return c.differ(at)
		}
		if !moreA {
			return nil
		}
		// A null entry is an entry.
		if isNull(was.value) != isNull(is.value) {
			err = c.differ(at.child(strconv.Itoa(i)))
		} else if !bytes.Equal(was.value, is.value) {
			err = c.values(at.child(strconv.Itoa(i)), was.value, is.value)
		}
		if err != nil {
			return err
		}
	}
}

// objects compares members one by one for as long as they have the same order, as
// in most retries, and then by their sorted names.
func (c *comparison) objects(at location, a, b *cursor) error {
	for {
		was, moreA, err := a.next()
		if err != nil {
			return err
		}
		is, moreB, err := b.next()
		if err != nil {
			return err
		}
		switch {
		case !moreA && !moreB:
			return nil
		case moreA && moreB && bytes.Equal(was.name, is.name):
			if err := c.members(at, was.name, was.value, is.value); err != nil {
				return err
			}
			continue
		}
		restA, err := a.rest(was, moreA)
		if err != nil {
			return err
		}
		restB, err := b.rest(is, moreB)
		if err != nil {
			return err
		}
		return c.sorted(at, restA, restB)
	}
}

// sorted compares members in the order of their names.
func (c *comparison) sorted(at location, was, is *members) error {
	slices.SortFunc(was.list, was.compare)
	slices.SortFunc(is.list, is.compare)
	for i, j := 0, 0; i < len(was.list) || j < len(is.list); {
		order := 0
		switch {
		case i == len(was.list):
			order = 1
		case j == len(is.list):
			order = -1
		default:
			order = bytes.Compare(was.name(i), is.name(j))
		}
		var name []byte
		var before, after jsontext.Value
		if order <= 0 {
			name, before = was.name(i), was.value(i)
			i++
		}
		if order >= 0 {
			name, after = is.name(j), is.value(j)
			j++
		}
		if err := c.members(at, name, before, after); err != nil {
			return err
		}
	}
	return nil
}

// members compares the values of a name.
func (c *comparison) members(parent location, quoted []byte, was, is jsontext.Value) error {
	if parent.depth == 0 && string(quoted) == `"timestamp"` {
		if c.ignoreStored {
			was = nil
		}
		if c.ignoreSent {
			is = nil
		}
	}
	if bytes.Equal(was, is) || isNull(was) && isNull(is) {
		return nil
	}
	name, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return err
	}
	return c.values(parent.child(string(name)), was, is)
}

// cursor reads an object or a list in the minimal form.
type cursor struct {
	alive    func() error
	text     jsontext.Value
	isObject bool
	dec      *jsontext.Decoder
	input    bytes.Buffer
}

// jsonMember is a member of an object, or an entry of a list, which has no name.
type jsonMember struct {
	name  []byte // quoted
	value jsontext.Value
}

// open returns a cursor at the first member of an object or list.
func (c *comparison) open(v jsontext.Value) *cursor {
	var r *cursor
	if n := len(c.cursors); n > 0 {
		r, c.cursors = c.cursors[n-1], c.cursors[:n-1]
	} else {
		r = &cursor{alive: c.alive}
		r.dec = jsontext.NewDecoder(&r.input)
	}
	r.text, r.isObject, r.input = v, v.Kind() == '{', *bytes.NewBuffer(v)
	r.dec.Reset(&r.input, jsontext.AllowDuplicateNames(true))
	return r
}

// next returns the next member, whose parts are parts of the text.
func (r *cursor) next() (m jsonMember, more bool, err error) {
	if err := r.alive(); err != nil {
		return m, false, err
	}
	if r.dec.InputOffset() == 0 {
		if _, err := r.dec.ReadToken(); err != nil {
			return m, false, err
		}
	}
	switch r.dec.PeekKind() {
	case '}', ']', 0:
		return m, false, nil // the text was valid when it was formatted
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

// rest returns a member, if there is one, and those that follow.
func (r *cursor) rest(m jsonMember, more bool) (list *members, err error) {
	list = &members{text: r.text}
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

// members are members of an object. There can be hundreds of thousands, so that
// they take little memory.
type members struct {
	text jsontext.Value
	list []position
}

// position is where a member is in the text: its name, a colon, its value.
type position struct{ name, value, end uint32 }

func (m *members) name(i int) []byte { return m.nameAt(m.list[i]) }

func (m *members) nameAt(p position) []byte { return m.text[p.name : p.value-1] }

func (m *members) value(i int) jsontext.Value { return m.text[m.list[i].value:m.list[i].end] }

func (m *members) compare(a, b position) int { return bytes.Compare(m.nameAt(a), m.nameAt(b)) }

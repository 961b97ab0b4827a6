package chargeingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"example.com/chargeingest/internal/turns"
)

// Bounds of what a body may hold where no rule of the schema bounds it.
const (
	maxDepth       = 32   // nesting, the body's own object included
	hopelessDepth  = 1000 // where reading on stops being worth it
	maxNumberBytes = 128
	maxExponent    = 999
)

// numberToken stands for any JSON number in a tree. No place of the contract
// takes one, so the schema never sees a client's digits.
type numberToken = json.Number

const aNumber numberToken = "0"

// treeBuilder makes the tree that the schema judges. The schema guides it:
// what sits where the schema expects something else, or nothing, is skipped
// and a placeholder of its kind takes its place, so that a tree is no larger
// than the contract has room for.
type treeBuilder struct {
	ctx         context.Context // of the request that waits for the tree
	slots       *turns.Gate     // which the request holds one of
	dec         *jsontext.Decoder
	keepUnknown bool
	tokens      int
}

// token reads a token. It ends the reading once the request was given up and others
// wait for its slot. The context does not tell a client that is gone from one that
// has closed its side of the connection and waits for the response.
func (b *treeBuilder) token() (jsontext.Token, error) {
	const between = 4096 // tokens
	if b.tokens++; b.tokens%between == 0 && b.ctx.Err() != nil && b.slots.Waiting() {
		return jsontext.Token{}, givenUpError(b.ctx.Err())
	}
	return b.dec.ReadToken()
}

// hostileError is a number or a nesting beyond the bounds. Where the place has
// a rule of the contract, the field is named.
type hostileError struct {
	path  string
	ruled bool
	what  string
}

func (e *hostileError) Error() string { return e.what }

// failure words why the reading of a body ended early.
func (b *treeBuilder) failure(err error) error {
	var givenUp *Error
	if errors.As(err, &givenUp) {
		return givenUp
	}
	var hostile *hostileError
	if errors.As(err, &hostile) {
		at := shorten(hostile.path)
		if hostile.ruled && at != "" {
			return fieldError(CodeInvalidField, at, at+" holds "+hostile.what)
		}
		return newError(CodeBadRequest, strings.TrimSuffix("the body holds "+hostile.what+" at "+at, " at "))
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at := ""
		if path := shorten(strings.Join(slices.Collect(syntax.JSONPointer.Tokens()), ".")); path != "" {
			at = ", in " + path
		}
		what := "is not valid JSON"
		if errors.Is(err, jsontext.ErrDuplicateName) {
			what = "has two members of the same name"
		}
		return newError(CodeBadRequest, fmt.Sprintf("the body %s, at byte %d%s", what, syntax.ByteOffset, at))
	}
	return newError(CodeBadRequest, "the body is not whole JSON")
}

// isEnd says that a decoder's error is the end of the input.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// atEnd says that nothing but white space is left.
func (d *decoder) atEnd() bool {
	_, err := d.ReadToken()
	return isEnd(err)
}

// build reads the next value as the schema expects it at path.
func (b *treeBuilder) build(s *jsonschema.Schema, path string) (any, error) {
	s = resolve(s)
	if s == nil || len(s.Types) == 0 {
		return true, b.skip(path, false)
	}
	switch b.dec.PeekKind() {
	case '{':
		if !slices.Contains(s.Types, "object") {
			return map[string]any{}, b.skip(path, true)
		}
		return b.object(s, path)
	case '[':
		if !slices.Contains(s.Types, "array") {
			return []any{}, b.skip(path, true)
		}
		entries := []any{}
		_, err := b.list(func(i int) error {
			at := joinPath(path, strconv.Itoa(i))
			if s.MaxItems >= 0 && i > s.MaxItems {
				return b.skip(at, true)
			}
			entry, err := b.build(s.Items2020, at)
			entries = append(entries, entry)
			return err
		})
		return entries, err
	}
	tok, err := b.token()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case '"':
		return cutText(tok.String()), nil
	case '0':
		return aNumber, nil
	case 't', 'f':
		return tok.Bool(), nil
	}
	return nil, nil
}

func (b *treeBuilder) object(s *jsonschema.Schema, path string) (map[string]any, error) {
	if _, err := b.dec.ReadToken(); err != nil {
		return nil, err
	}
	object := make(map[string]any)
	var unknown firstNames
	for b.dec.PeekKind() == '"' {
		tok, err := b.token()
		if err != nil {
			return nil, err
		}
		name := tok.String()
		value, err := b.build(s.Properties[name], joinPath(path, name))
		switch {
		case err != nil:
			return nil, err
		case s.Properties[name] != nil:
			object[name] = value
		case !b.keepUnknown:
			unknown.add(name)
		}
	}
	unknown.addTo(object)
	_, err := b.dec.ReadToken() // the closing brace, or what is wrong in its place
	return object, err
}

// cutText cuts a string of a tree. The contract has room for fewer characters in
// every string, so that the schema judges the rest as it would the whole.
func cutText(s string) string {
	if len(s) <= maxTextLength {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == maxTextLength+2 {
			return strings.Clone(s[:i])
		}
	}
	return s
}

// firstNames keeps, of any number of names, those that come first in a
// response, cut as it shows them: as many as it has room for.
type firstNames struct{ names []string }

// addTo adds the names to an object of a tree.
func (f *firstNames) addTo(object map[string]any) {
	for _, name := range f.names {
		object[name] = true
	}
}

func (f *firstNames) add(name string) {
	name = shorten(name)
	i, found := slices.BinarySearchFunc(f.names, name, comparePaths)
	if found || i == maxViolations {
		return
	}
	if len(f.names) == maxViolations {
		f.names = f.names[:maxViolations-1]
	}
	f.names = slices.Insert(f.names, i, name)
}

// list calls entry for each entry and returns how many there are.
func (b *treeBuilder) list(entry func(i int) error) (int, error) {
	if _, err := b.dec.ReadToken(); err != nil {
		return 0, err
	}
	for i := 0; ; i++ {
		switch b.dec.PeekKind() {
		case ']', 0:
			_, err := b.dec.ReadToken()
			return i, err
		}
		if err := entry(i); err != nil {
			return i, err
		}
	}
}

// skip reads over a value. Where no rule of the contract holds, its numbers
// and its nesting are bounded; where one does, the rule rejects the value
// anyway, and only a nesting too deep to read on ends the reading.
func (b *treeBuilder) skip(path string, ruled bool) error {
	bottom := b.dec.StackDepth()
	for {
		tok, err := b.token()
		if err != nil {
			return err
		}
		depth := b.dec.StackDepth()
		switch {
		case depth > hopelessDepth, depth > maxDepth && !ruled:
			return &hostileError{path, ruled, fmt.Sprintf("more than %d levels of nesting", maxDepth)}
		case tok.Kind() == '0' && !ruled && isHostileNumber(tok.String()):
			return &hostileError{path, ruled, fmt.Sprintf("a number of more than %d characters or with an exponent beyond %d", maxNumberBytes, maxExponent)}
		case depth == bottom:
			return nil
		}
	}
}

// isHostileNumber says that a JSON number is longer, or its exponent larger,
// than honest ones are: programs that read it later may choke on it.
func isHostileNumber(s string) bool {
	if len(s) > maxNumberBytes {
		return true
	}
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return false
	}
	exponent, err := strconv.Atoi(s[i+1:])
	return err != nil || exponent > maxExponent || exponent < -maxExponent
}

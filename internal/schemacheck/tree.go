package schemacheck

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

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
)

const (
	maxDepth       = 32   // nesting, including the object of the body
	abortDepth     = 1000 // even if a rule will reject the value
	maxNumberBytes = 128
	maxExponent    = 999
)

// MaxTextLength is in characters.
const MaxTextLength = 256

type numberToken = json.Number

const aNumber numberToken = "0"

// treeBuilder replaces invalid values by placeholders of the same type, so that no tree is larger
// than a valid one.
type treeBuilder struct {
	ctx         context.Context
	gate        *limits.Gate
	dec         *jsontext.Decoder
	keepUnknown bool
	tokens      int
}

// Otherwise a half-closed client may still read the response.
func (b *treeBuilder) token() (jsontext.Token, error) {
	const interval = 4096 // tokens
	if b.tokens++; b.tokens%interval == 0 && b.ctx.Err() != nil && b.gate.Waiting() {
		return jsontext.Token{}, fmt.Errorf("%w: %w", ErrGivenUp, b.ctx.Err())
	}
	return b.dec.ReadToken()
}

// MalformedError reports a body that is no JSON object within the bounds of nesting and
// numbers.
type MalformedError struct{ Message string }

func (e *MalformedError) Error() string { return e.Message }

// ErrGivenUp means that the context had ended and other callers waited.
var ErrGivenUp = errors.New("validation given up")

// boundsError has hasRule set if the schema has a rule for the value.
type boundsError struct {
	path    string
	hasRule bool
	content string
}

func (e *boundsError) Error() string { return e.content }

func asMalformed(err error) error {
	if errors.Is(err, ErrGivenUp) {
		return err
	}
	var bounds *boundsError
	if errors.As(err, &bounds) {
		path := limits.Shorten(bounds.path)
		if bounds.hasRule && path != "" {
			return &InvalidError{[]Violation{{InvalidField, path, path + " has " + bounds.content}}}
		}
		return &MalformedError{strings.TrimSuffix("the body has "+bounds.content+" at "+path, " at ")}
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at := ""
		if path := limits.Shorten(strings.Join(slices.Collect(syntax.JSONPointer.Tokens()), ".")); path != "" {
			at = ", in " + path
		}
		problem := "invalid JSON"
		if errors.Is(err, jsontext.ErrDuplicateName) {
			problem = "two fields of the same name"
		}
		return &MalformedError{fmt.Sprintf("%s at byte %d%s", problem, syntax.ByteOffset, at)}
	}
	return &MalformedError{"the body is not complete JSON"}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

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
			at := jsontree.JoinPath(path, strconv.Itoa(i))
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
	unknown := firstNames{parent: path}
	for b.dec.PeekKind() == '"' {
		tok, err := b.token()
		if err != nil {
			return nil, err
		}
		name := tok.String()
		value, err := b.build(s.Properties[name], jsontree.JoinPath(path, name))
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
	_, err := b.dec.ReadToken()
	return object, err
}

// cutText cuts a string that remains too long for the schema.
func cutText(s string) string {
	if len(s) <= MaxTextLength {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == MaxTextLength+2 {
			return strings.Clone(s[:i])
		}
	}
	return s
}

// firstNames keeps the names that come first in a response.
type firstNames struct {
	parent string // path
	names  []string
}

func (f *firstNames) addTo(object map[string]any) {
	for _, name := range f.names {
		object[name] = true
	}
}

func (f *firstNames) add(name string) {
	name = limits.Shorten(name)
	if f.parent != "" {
		path := limits.Shorten(f.parent + "." + name)
		var ok bool
		if name, ok = strings.CutPrefix(path, f.parent+"."); !ok {
			name = "…" // the cut is in the parent
		}
	}
	i, found := slices.BinarySearchFunc(f.names, name, jsontree.ComparePaths)
	if found || i == MaxViolations {
		return
	}
	if len(f.names) == MaxViolations {
		f.names = f.names[:MaxViolations-1]
	}
	f.names = slices.Insert(f.names, i, name)
}

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

// skip bounds numbers and nesting. A rule rejects the value anyway: only a nesting beyond
// abortDepth is an error.
func (b *treeBuilder) skip(path string, hasRule bool) error {
	bottom := b.dec.StackDepth()
	for {
		tok, err := b.token()
		if err != nil {
			return err
		}
		depth := b.dec.StackDepth()
		switch {
		case depth > abortDepth, depth > maxDepth && !hasRule:
			return &boundsError{path, hasRule, fmt.Sprintf("more than %d levels of nesting", maxDepth)}
		case tok.Kind() == '0' && !hasRule && isExcessiveNumber(tok.String()):
			return &boundsError{path, hasRule, fmt.Sprintf("a number of more than %d characters or with an exponent beyond %d", maxNumberBytes, maxExponent)}
		case depth == bottom:
			return nil
		}
	}
}

// isExcessiveNumber reports whether other programs may fail to read the number.
func isExcessiveNumber(s string) bool {
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

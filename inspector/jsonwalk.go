package inspector

import (
	"bytes"
	"encoding/json"
)

const (
	itemName  = 'n'
	itemValue = 'v' // a string, a literal, or text that is not JSON
)

type item struct {
	kind       byte
	start, end int
	name       []byte
}

func (i item) startsValue() bool { return i.kind == '{' || i.kind == '[' || i.kind == itemValue }

// walker finds JSON tokens in any text: bodies can be malformed or cut.
type walker struct {
	text       []byte
	pos        int
	objects    []bool // whether each open container is one
	expectName bool
	name       []byte
}

func (w *walker) depth() int { return len(w.objects) }

func (w *walker) inObject() bool { return len(w.objects) > 0 && w.objects[len(w.objects)-1] }

func (w *walker) next() (item, bool) {
	for w.pos < len(w.text) && isSpace(w.text[w.pos]) {
		w.pos++
	}
	if w.pos == len(w.text) {
		return item{}, false
	}
	t := item{kind: w.text[w.pos], start: w.pos, end: w.pos + 1}
	switch t.kind {
	case '{', '[':
		t.name, w.name = w.name, nil
		w.objects = append(w.objects, t.kind == '{')
		w.expectName = t.kind == '{'
	case '}', ']':
		w.objects = w.objects[:max(0, len(w.objects)-1)]
		w.expectName, w.name = false, nil
	case ',':
		w.expectName, w.name = w.inObject(), nil
	case ':':
		w.expectName = false
	default:
		t.end = tokenEnd(w.text, w.pos)
		if w.expectName && t.kind == '"' {
			t.kind, w.name, w.expectName = itemName, w.text[t.start:t.end], false
		} else {
			t.kind, t.name, w.name = itemValue, w.name, nil
		}
	}
	w.pos = t.end
	return t, true
}

func (w *walker) peek() byte {
	for _, c := range w.text[w.pos:] {
		if !isSpace(c) {
			return c
		}
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func tokenEnd(text []byte, start int) int {
	if text[start] != '"' {
		if n := bytes.IndexAny(text[start:], " \n\t\r{}[],:\""); n >= 0 {
			return start + n
		}
		return len(text)
	}
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func unquote(quoted []byte) string {
	if n := len(quoted); n >= 2 && quoted[0] == '"' && quoted[n-1] == '"' && bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : n-1])
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return string(quoted)
	}
	return s
}

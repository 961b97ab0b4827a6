package inspector

import (
	"slices"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
)

const (
	maxIndent = 32 // levels
	// maxPrettyFactor bounds the size of the indented text. The rest stays as it was sent.
	maxPrettyFactor = 4
	minPrettyBytes  = 64 << 10
)

// fieldLines are the 1-based lines of fields by dotted path, cut like those of responses.
// The value 0 means that the text does not have the field.
type fieldLines map[string]int

// wantedLines has an entry for each path and its parents.
func wantedLines(paths []string) fieldLines {
	lines := make(fieldLines)
	for _, path := range paths {
		for more := path != ""; more; {
			lines[path] = 0
			i := strings.LastIndexByte(path, '.')
			if more = i > 0; more {
				path = path[:i]
			}
		}
	}
	return lines
}

// nearest returns the line of the field, or of its nearest parent in the text.
func (l fieldLines) nearest(path string) int {
	for {
		if line := l[path]; line > 0 {
			return line
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return l[""]
		}
		path = path[:i]
	}
}

// pretty indents a JSON text without changing its tokens, as far as the text is JSON. It
// returns nothing if the text is not an object or a list. It sets the lines of fields that
// have an entry in lines.
func pretty(text []byte, lines fieldLines) string {
	p := prettyPrinter{walker: walker{text: text}, lines: lines, line: 1}
	if first := p.peek(); first != '{' && first != '[' {
		return ""
	}
	limit := max(minPrettyBytes, maxPrettyFactor*len(text))
	for len(p.out) < limit {
		start := p.pos
		t, more := p.next()
		if !more {
			return string(p.out)
		}
		if len(p.out)+t.end-t.start+2*maxIndent > limit {
			p.pos = start
			break
		}
		p.add(t)
	}
	return string(append(append(p.out, '\n'), text[p.pos:]...))
}

type prettyPrinter struct {
	walker
	out   []byte
	line  int
	last  byte // kind of the last item
	lines fieldLines

	// positions are those of the open containers whose fields may be in lines.
	positions []position
}

type position struct {
	depth int
	path  string
	index int
}

func (p *prettyPrinter) add(t item) {
	switch opened := p.last == '{' || p.last == '['; {
	case t.kind == '}' || t.kind == ']':
		if !opened {
			p.newLine(p.depth())
		}
	case opened || p.last == ',':
		p.newLine(p.depthOf(t))
	case p.last == ':':
		p.out = append(p.out, ' ')
	case p.last != 0 && (t.startsValue() || t.kind == itemName): // not JSON
		p.newLine(p.depthOf(t))
	}
	if t.startsValue() && p.lines != nil {
		p.enter(t)
	}
	p.write(p.text[t.start:t.end])
	p.last = t.kind
	for len(p.positions) > 0 && p.positions[len(p.positions)-1].depth > p.depth() {
		p.positions = p.positions[:len(p.positions)-1]
	}
	if n := len(p.positions); t.kind == ',' && n > 0 && p.positions[n-1].depth == p.depth() {
		p.positions[n-1].index++
	}
}

// depthOf returns the number of containers around t, which was just read.
func (p *prettyPrinter) depthOf(t item) int {
	if t.kind == '{' || t.kind == '[' {
		return p.depth() - 1
	}
	return p.depth()
}

func (p *prettyPrinter) newLine(depth int) {
	p.out = append(p.out, '\n')
	p.line++
	p.out = append(p.out, strings.Repeat("  ", min(depth, maxIndent))...)
}

func (p *prettyPrinter) write(token []byte) {
	p.out = append(p.out, token...)
	for _, c := range token {
		if c == '\n' {
			p.line++
		}
	}
}

// enter notes the line of the value, and its position if it is a container.
func (p *prettyPrinter) enter(t item) {
	depth, path := p.depthOf(t), ""
	if depth > 0 {
		n := len(p.positions)
		if n == 0 || p.positions[n-1].depth != depth {
			return
		}
		parent := p.positions[n-1]
		name := strconv.Itoa(parent.index)
		if t.name != nil {
			name = limits.Shorten(unquote(t.name))
		}
		path = limits.Shorten(jsontree.JoinPath(parent.path, name))
		line, wanted := p.lines[path]
		if !wanted {
			return
		}
		if line == 0 {
			p.lines[path] = p.line
		}
	} else if p.lines[""] == 0 {
		p.lines[""] = 1
	}
	if t.kind != itemValue {
		p.positions = append(p.positions, position{depth: depth + 1, path: path})
	}
}

// existing returns the lines of the paths that the text has.
func (l fieldLines) existing(paths []string) []int {
	found := []int{}
	for _, path := range paths {
		if line := l[path]; line > 0 {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

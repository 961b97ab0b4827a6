package inspector

import (
	"slices"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
)

const (
	maxIndent       = 32
	maxPrettyFactor = 4
	minPrettyBytes  = 64 << 10
)

// fieldLines are 1-based lines by dotted path, or 0.
type fieldLines map[string]int

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
	last  byte
	lines fieldLines

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
			name = unquote(t.name)
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

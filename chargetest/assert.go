package chargetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// AssertEvent fails the test unless exactly one event with the reference of want is
// stored and has the content of want. A field that is nil in want must be null in the
// event, except that a want without a timestamp matches any. The failure lists the
// differences, one field a line. It returns whether the assertion holds.
func (s *Server) AssertEvent(t TB, want chargeingest.ChargeEvent) bool {
	t.Helper()
	if want.Reference == nil || *want.Reference == "" {
		s.report(t, "AssertEvent needs an event with a reference")
		return false
	}
	q := &search{on: []EventMatcher{Reference(*want.Reference)}}
	if !s.look(t, q) {
		return false
	}
	if len(q.found) != 1 {
		s.fail(t, q.on, "%s: %d stored, want 1", q.on[0], len(q.found))
		return false
	}
	difference, err := diff(want, q.found[0].ChargeEvent)
	if err != nil {
		s.report(t, "AssertEvent: %v", err)
		return false
	}
	if difference != "" {
		s.report(t, "%s is stored with other content (- want, + stored):\n%s", q.on[0], difference)
		return false
	}
	return true
}

// AssertCount fails the test unless n events that all matchers select are stored. It
// returns whether the assertion holds.
func (s *Server) AssertCount(t TB, n int, on ...EventMatcher) bool {
	t.Helper()
	q := &search{on: on}
	if !s.look(t, q) {
		return false
	}
	if len(q.found) != n {
		s.fail(t, on, "%s: %d stored, want %d", names(on), len(q.found), n)
		return false
	}
	return true
}

// AssertNoRejections fails the test if the contract rejected a request. It returns
// whether the assertion holds.
func (s *Server) AssertNoRejections(t TB) bool {
	t.Helper()
	rejected := s.rejections()
	if len(rejected) > 0 {
		s.report(t, "%d requests were rejected:\n%s", len(rejected), strings.Join(rejected, "\n"))
	}
	return len(rejected) == 0
}

// rejections are the requests that the contract rejected, a line each.
func (s *Server) rejections() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.rejected, func(a, b *Request) int { return cmp.Compare(a.N, b.N) })
	lines := make([]string, len(s.rejected))
	for i, r := range s.rejected {
		lines[i] = "  " + r.String()
	}
	return lines
}

// diff is how two events differ, a line for each side of each member, empty
// where they do not. Ids do not count, nor does a timestamp that want has not.
func diff(want, stored chargeingest.ChargeEvent) (string, error) {
	want.ID, stored.ID = "", ""
	if want.Timestamp == nil {
		stored.Timestamp = nil
	}
	a, err := leaves(want)
	if err != nil {
		return "", err
	}
	b, err := leaves(stored)
	if err != nil {
		return "", err
	}
	paths := maps.Clone(a)
	maps.Copy(paths, b)
	var lines strings.Builder
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		wanted, isWanted := a[path]
		found, isFound := b[path]
		if isWanted && isFound && wanted == found {
			continue
		}
		if isWanted {
			fmt.Fprintf(&lines, "  - %s: %s\n", path, wanted)
		}
		if isFound {
			fmt.Fprintf(&lines, "  + %s: %s\n", path, found)
		}
	}
	return lines.String(), nil
}

// leaves are the scalars of an event, and its empty lists and objects, by
// dotted path, as JSON. Nulls are absent.
func leaves(ev chargeingest.ChargeEvent) (map[string]string, error) {
	text, err := ev.MarshalJSON()
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	collect(found, "", text)
	return found, nil
}

func collect(found map[string]string, at string, text json.RawMessage) {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case string(text) == "null":
	case text[0] == '{' && json.Unmarshal(text, &object) == nil && len(object) > 0:
		for name, value := range object {
			collect(found, strings.TrimPrefix(at+"."+name, "."), value)
		}
	case text[0] == '[' && json.Unmarshal(text, &list) == nil && len(list) > 0:
		for i, value := range list {
			collect(found, fmt.Sprintf("%s.%d", at, i), value)
		}
	default:
		found[at] = string(text)
	}
}

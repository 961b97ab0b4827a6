package chargetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// AssertEvent fails the test and returns false unless exactly one stored event has the
// reference and the content of want. Ids and a nil Timestamp in want are ignored.
func (s *Server) AssertEvent(t TB, want chargeingest.ChargeEvent) bool {
	t.Helper()
	return s.reportProblem(t, func() (string, error) { return s.checkEvent(want) })
}

// AssertCount is like AssertEvent unless all matchers select n stored events.
func (s *Server) AssertCount(t TB, n int, matchers ...EventMatcher) bool {
	t.Helper()
	return s.reportProblem(t, func() (string, error) { return s.checkCount(n, matchers) })
}

// AssertNoRejections is like AssertEvent if the endpoint rejected a request.
func (s *Server) AssertNoRejections(t TB) bool {
	t.Helper()
	return s.reportProblem(t, s.checkNoRejections)
}

func (s *Server) reportProblem(t TB, check func() (problem string, err error)) bool {
	t.Helper()
	problem, err := check()
	if err != nil {
		problem = err.Error()
	}
	if problem != "" {
		s.report(t, "%s", problem)
	}
	return problem == ""
}

func (s *Server) checkEvent(want chargeingest.ChargeEvent) (problem string, err error) {
	if want.Reference == nil || *want.Reference == "" {
		return "", errors.New("AssertEvent needs an event with a reference")
	}
	q := &search{matchers: []EventMatcher{Reference(*want.Reference)}}
	if err := s.refresh(q); err != nil {
		return "", err
	}
	if len(q.found) != 1 {
		return s.withState(q.matchers, "%s: %d stored, want 1", q.matchers[0], len(q.found)), nil
	}
	difference, err := diff(want, q.found[0].ChargeEvent)
	if err != nil {
		return "", fmt.Errorf("AssertEvent: %w", err)
	}
	if difference != "" {
		return fmt.Sprintf("%s is stored with different content (- want, + stored):\n%s", q.matchers[0], difference), nil
	}
	return "", nil
}

func (s *Server) checkCount(n int, matchers []EventMatcher) (problem string, err error) {
	q := &search{matchers: matchers}
	if err := s.refresh(q); err != nil {
		return "", err
	}
	if len(q.found) != n {
		return s.withState(matchers, "%s: %d stored, want %d", matcherNames(matchers), len(q.found), n), nil
	}
	return "", nil
}

func (s *Server) checkNoRejections() (problem string, err error) {
	n, rejected := s.rejections()
	if n > 0 {
		problem = fmt.Sprintf("rejected requests: %d\n%s", n, strings.Join(rejected, "\n"))
	}
	return problem, nil
}

func (s *Server) rejections() (n int, lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journal
	slices.SortFunc(j.rejected, func(a, b *Request) int { return cmp.Compare(a.Number, b.Number) })
	if j.rejectedDropped > 0 {
		lines = append(lines, fmt.Sprintf("  … %d dropped", j.rejectedDropped))
	}
	for _, r := range j.rejected {
		lines = append(lines, "  "+r.String())
	}
	return j.rejectedCount(), lines
}

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

func leaves(ev chargeingest.ChargeEvent) (map[string]string, error) {
	text, err := ev.MarshalJSON()
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	collectLeaves(found, "", text)
	return found, nil
}

func collectLeaves(found map[string]string, path string, text json.RawMessage) {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case string(text) == "null":
	case text[0] == '{' && json.Unmarshal(text, &object) == nil && len(object) > 0:
		for name, value := range object {
			collectLeaves(found, strings.TrimPrefix(path+"."+name, "."), value)
		}
	case text[0] == '[' && json.Unmarshal(text, &list) == nil && len(list) > 0:
		for i, value := range list {
			collectLeaves(found, fmt.Sprintf("%s.%d", path, i), value)
		}
	default:
		found[path] = string(text)
	}
}

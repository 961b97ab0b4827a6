package crashtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// maxProblems is how many problems a history tells of.
const maxProblems = 10

// Stored is an event that is there, as the endpoint answers it.
type Stored struct {
	Platform, ID string
	Text         string
}

// History is what clients sent and what they were answered. Safe for concurrent
// use.
type History struct {
	dark atomic.Bool // see Darken

	// SeveralProcesses says that more than one stores at a time: ids are in the
	// order of storing only within each. Set before the traffic.
	SeveralProcesses bool

	mu       sync.Mutex
	requests map[*request]*fate
	markers  map[ident]map[string]bool   // what was sent with a reference
	keyed    map[ident]map[*request]bool // what was sent with a key
	acked    map[ident]string            // the text of each event that was acknowledged
	bound    map[ident][]string          // the ids that a key was answered with
	problems []string                    // what was wrong by itself
	followed []Stored                    // see Follow
	cursors  map[string]string           // of Follow, by platform
	counts   map[string]int              // of answers, by kind
}

// ident is an id, or a key, of a platform.
type ident struct{ platform, name string }

// fate is what became of a request.
type fate struct {
	acked   bool // answered 201 at least once
	unknown bool // sent without an answer that says what became of it
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{
		requests: make(map[*request]*fate), markers: make(map[ident]map[string]bool), keyed: make(map[ident]map[*request]bool), acked: make(map[ident]string), bound: make(map[ident][]string),
		cursors: make(map[string]string), counts: make(map[string]int),
	}
}

// Count returns how often an answer of a kind came: "stored", "replayed",
// "conflict", "failed" or "unknown".
func (h *History) Count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[kind]
}

// Counts returns all of Count as a text.
func (h *History) Counts() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.counts)
}

// Darken says that from now on, until [History.Lighten], no answer counts, as
// nobody is there any more to get it. A power cut that is only played needs that:
// the real one stops the processor, too, and does not let it tell of a sync that
// was under way and went wrong unnoticed.
func (h *History) Darken() { h.dark.Store(true) }

// Lighten ends what [History.Darken] began.
func (h *History) Lighten() { h.dark.Store(false) }

func (h *History) of(r *request) *fate {
	f := h.requests[r]
	if f == nil {
		f = new(fate)
		h.requests[r] = f
	}
	return f
}

// begin takes a request that is about to be sent.
func (h *History) begin(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.requests[r] != nil {
		return
	}
	h.of(r)
	for _, e := range r.events {
		if at := (ident{r.platform, e.reference}); e.reference != "" {
			if h.markers[at] == nil {
				h.markers[at] = make(map[string]bool)
			}
			h.markers[at][e.marker] = true
		}
	}
	if at := (ident{r.platform, r.key}); r.key != "" {
		if h.keyed[at] == nil {
			h.keyed[at] = make(map[*request]bool)
		}
		h.keyed[at][r] = true
	}
}

// conflict takes a 409. Somebody must have sent something else.
func (h *History) conflict(r *request) {
	h.refused(r, "conflict")
	h.mu.Lock()
	defer h.mu.Unlock()
	honest := len(h.keyed[ident{r.platform, r.key}]) < 2
	for _, e := range r.events {
		honest = honest && len(h.markers[ident{r.platform, e.reference}]) < 2
	}
	if honest {
		h.problem("CONFLICT: nobody has contradicted the request with %s", r.events[0].marker)
	}
}

// refused says that nothing of a request was stored by this sending of it.
func (h *History) refused(r *request, kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(r)
	h.counts[kind]++
}

// lost says that nobody knows what became of a request.
func (h *History) lost(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(r).unknown = true
	h.counts["unknown"]++
}

// acknowledged takes the events of a 201.
func (h *History) acknowledged(r *request, events []json.RawMessage, replayed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(r).acked = true
	if replayed {
		h.counts["replayed"]++
	} else {
		h.counts["stored"]++
	}
	if len(events) != len(r.events) {
		h.problem("%d events were sent and %d answered", len(r.events), len(events))
		return
	}
	var ids []string
	for i, text := range events {
		e, err := parse(text)
		if err != nil {
			h.problem("%v", err)
			return
		}
		if err := isAnswerTo(text, r.events[i]); err != nil {
			h.problem("%v", err)
		}
		at := ident{r.platform, e.ID}
		if before, ok := h.acked[at]; ok && before != string(text) {
			h.problem("event %s was answered as %s and as %s", e.ID, before, text)
		}
		h.acked[at] = string(text)
		ids = append(ids, e.ID)
	}
	if r.key != "" {
		at := ident{r.platform, r.key}
		if before, ok := h.bound[at]; ok && !slices.Equal(before, ids) {
			h.problem("key %s was answered with %v and with %v", r.key, before, ids)
		}
		h.bound[at] = ids
	}
}

// wrong takes what must never happen.
func (h *History) wrong(format string, arguments ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problem(format, arguments...)
}

func (h *History) problem(format string, arguments ...any) {
	h.problems = append(h.problems, fmt.Sprintf(format, arguments...))
}

// parsed is what matters of an event's JSON.
type parsed struct {
	ID          string  `json:"id"`
	Description string  `json:"description"`
	Reference   *string `json:"reference"`
}

func (p parsed) reference() string {
	if p.Reference == nil {
		return ""
	}
	return *p.Reference
}

func parse(text []byte) (parsed, error) {
	var p parsed
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("an event is no JSON: %w: %s", err, text)
	}
	return p, nil
}

// isAnswerTo says whether an answer has all that was sent.
func isAnswerTo(text []byte, sent event) error {
	var was, is map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal([]byte(sent.json), &was), json.Unmarshal(text, &is)); err != nil {
		return err
	}
	for name, value := range was {
		if string(is[name]) != string(value) {
			return fmt.Errorf("%s was sent as %s and answered as %s: %s", name, value, is[name], sent.marker)
		}
	}
	return nil
}

// FollowAnew makes Follow begin from the start: for who was refused a cursor of a
// server that has lost what it showed and never acknowledged.
func (h *History) FollowAnew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followed, h.cursors = nil, make(map[string]string)
}

// CheckFollower says whether Follow has seen just what is stored, in its order.
func (h *History) CheckFollower(stored []Stored) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, platform := range Platforms() {
		elsewhere := func(s Stored) bool { return s.Platform != platform }
		seen := slices.DeleteFunc(slices.Clone(h.followed), elsewhere)
		there := slices.DeleteFunc(slices.Clone(stored), elsewhere)
		for i := range max(len(seen), len(there)) {
			if i >= len(seen) || i >= len(there) || seen[i] != there[i] {
				return fmt.Errorf("who followed %s saw %d events, %d are there, and from number %d on they differ", platform, len(seen), len(there), i)
			}
		}
	}
	return nil
}

// Check returns what is wrong with what is stored, in the order of storing on
// each platform; nil for nothing.
func (h *History) Check(stored []Stored) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	problems := slices.Clone(h.problems)
	found := func(format string, arguments ...any) {
		problems = append(problems, fmt.Sprintf(format, arguments...))
	}
	there := make(map[ident]string)  // by id
	markers := make(map[string]bool) // of what is there
	references := make(map[ident]bool)
	last := make(map[string]string) // id on a platform
	for _, s := range stored {
		e, err := parse([]byte(s.Text))
		if err != nil {
			found("%v", err)
			continue
		}
		if e.ID <= last[s.Platform] && !h.SeveralProcesses {
			found("%s follows %s", e.ID, last[s.Platform])
		}
		last[s.Platform] = e.ID
		if !strings.HasPrefix(e.Description, s.Platform+" ") {
			found("CROSSED: %s is there on %s", e.Description, s.Platform)
		}
		if markers[e.Description] {
			found("DOUBLED: %s is there more than once", e.Description)
		}
		if at := (ident{s.Platform, e.reference()}); at.name != "" {
			if references[at] {
				found("DOUBLED: reference %s on %s is there more than once", at.name, at.platform)
			}
			references[at] = true
		}
		there[ident{s.Platform, e.ID}] = s.Text
		markers[e.Description] = true
	}
	for at, text := range h.acked {
		switch now, ok := there[at]; {
		case !ok:
			found("LOST: %s was acknowledged and is not there", text)
		case now != text:
			found("ALTERED: %s was acknowledged and is now %s", text, now)
		}
	}
	// What may be there: that of which a request was acknowledged, or may have
	// been stored.
	possible, sure := make(map[string]bool), make(map[string]bool)
	for r, f := range h.requests {
		for _, e := range r.events {
			possible[e.marker] = possible[e.marker] || f.acked || f.unknown
			sure[e.marker] = sure[e.marker] || f.acked
		}
	}
	for marker := range markers {
		if !possible[marker] {
			found("FOREIGN: %s is there, and no request with it can have been stored", marker)
		}
	}
	for marker := range sure {
		if sure[marker] && !markers[marker] {
			found("LOST: %s was acknowledged and is not there", marker)
		}
	}
	h.checkWhole(markers, found)
	if len(problems) == 0 {
		return nil
	}
	text := fmt.Sprintf("%d problems", len(problems))
	for _, p := range problems[:min(len(problems), maxProblems)] {
		text += "\n  " + p
	}
	return errors.New(text)
}

// checkWhole looks at requests that were never answered: all of their events are
// there, or none; those that other requests have, too, do not count.
func (h *History) checkWhole(markers map[string]bool, found func(string, ...any)) {
	holders := make(map[string]int)
	for r := range h.requests {
		seen := make(map[string]bool)
		for _, e := range r.events {
			if !seen[e.marker] {
				holders[e.marker]++
			}
			seen[e.marker] = true
		}
	}
	for r, f := range h.requests {
		if f.acked {
			continue
		}
		var in, out int
		for _, e := range r.events {
			switch {
			case holders[e.marker] > 1:
			case markers[e.marker]:
				in++
			default:
				out++
			}
		}
		if in > 0 && out > 0 {
			found("HALF: of a request with %s %d events are there and %d are not", r.events[0].marker, in, out)
		}
	}
}

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

const maxProblems = 10

// Stored is an event as the endpoint returns it.
type Stored struct {
	Platform, ID string
	Text         string
}

// History records requests and their responses.
type History struct {
	ignoring atomic.Bool

	// SeveralProcesses disables the check that ids follow storage order.
	SeveralProcesses bool

	mu                 sync.Mutex
	requests           map[*request]*requestState
	markersByReference map[scopedName]map[string]bool
	requestsByKey      map[scopedName]map[*request]bool
	ackedEvents        map[scopedName]string
	keyIDs             map[scopedName][]string // ids returned for a key
	problems           []string                // found before Check
	followed           []Stored
	cursors            map[string]string
	counts             map[string]int
}

type scopedName struct{ platform, name string }

type requestState struct {
	acked   bool
	unknown bool
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{
		requests: make(map[*request]*requestState), markersByReference: make(map[scopedName]map[string]bool), requestsByKey: make(map[scopedName]map[*request]bool), ackedEvents: make(map[scopedName]string), keyIDs: make(map[scopedName][]string),
		cursors: make(map[string]string), counts: make(map[string]int),
	}
}

// Count counts "stored", "replayed", "conflict", "failed" or "unknown" responses.
func (h *History) Count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[kind]
}

// Counts formats all counts.
func (h *History) Counts() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.counts)
}

// IgnoreResponses is for a server that responds after a simulated power loss.
func (h *History) IgnoreResponses() { h.ignoring.Store(true) }

// AcceptResponses ends [History.IgnoreResponses].
func (h *History) AcceptResponses() { h.ignoring.Store(false) }

func (h *History) state(r *request) *requestState {
	f := h.requests[r]
	if f == nil {
		f = new(requestState)
		h.requests[r] = f
	}
	return f
}

func (h *History) begin(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.requests[r] != nil {
		return
	}
	h.state(r)
	for _, e := range r.events {
		if at := (scopedName{r.platform, e.reference}); e.reference != "" {
			if h.markersByReference[at] == nil {
				h.markersByReference[at] = make(map[string]bool)
			}
			h.markersByReference[at][e.marker] = true
		}
	}
	if at := (scopedName{r.platform, r.key}); r.key != "" {
		if h.requestsByKey[at] == nil {
			h.requestsByKey[at] = make(map[*request]bool)
		}
		h.requestsByKey[at][r] = true
	}
}

func (h *History) conflict(r *request) {
	h.notStored(r, "conflict")
	h.mu.Lock()
	defer h.mu.Unlock()
	unexplained := len(h.requestsByKey[scopedName{r.platform, r.key}]) < 2
	for _, e := range r.events {
		unexplained = unexplained && len(h.markersByReference[scopedName{r.platform, e.reference}]) < 2
	}
	if unexplained {
		h.reportLocked("CONFLICT: no other request conflicts with the one of %s", r.events[0].marker)
	}
}

func (h *History) notStored(r *request, kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state(r)
	h.counts[kind]++
}

func (h *History) outcomeUnknown(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state(r).unknown = true
	h.counts["unknown"]++
}

func (h *History) acknowledged(r *request, events []json.RawMessage, replayed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state(r).acked = true
	if replayed {
		h.counts["replayed"]++
	} else {
		h.counts["stored"]++
	}
	if len(events) != len(r.events) {
		h.reportLocked("%d events were sent and %d returned", len(r.events), len(events))
		return
	}
	var ids []string
	for i, text := range events {
		e, err := parse(text)
		if err != nil {
			h.reportLocked("%v", err)
			return
		}
		if err := checkResponse(text, r.events[i]); err != nil {
			h.reportLocked("%v", err)
		}
		at := scopedName{r.platform, e.ID}
		if before, ok := h.ackedEvents[at]; ok && before != string(text) {
			h.reportLocked("event %s was returned as %s and as %s", e.ID, before, text)
		}
		h.ackedEvents[at] = string(text)
		ids = append(ids, e.ID)
	}
	if r.key != "" {
		at := scopedName{r.platform, r.key}
		if before, ok := h.keyIDs[at]; ok && !slices.Equal(before, ids) {
			h.reportLocked("key %s returned %v and %v", r.key, before, ids)
		}
		h.keyIDs[at] = ids
	}
}

func (h *History) report(format string, arguments ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reportLocked(format, arguments...)
}

func (h *History) reportLocked(format string, arguments ...any) {
	h.problems = append(h.problems, fmt.Sprintf(format, arguments...))
}

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
		return p, fmt.Errorf("an event is not JSON: %w: %s", err, text)
	}
	return p, nil
}

func checkResponse(text []byte, sent event) error {
	var want, got map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal([]byte(sent.json), &want), json.Unmarshal(text, &got)); err != nil {
		return err
	}
	for name, value := range want {
		if string(got[name]) != string(value) {
			return fmt.Errorf("%s was sent as %s and returned as %s: %s", name, value, got[name], sent.marker)
		}
	}
	return nil
}

// RestartFollow forgets the cursors, which can be ahead of a server that lost events.
func (h *History) RestartFollow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followed, h.cursors = nil, make(map[string]string)
}

// CompareFollowed requires that Follow has read the stored events in order.
func (h *History) CompareFollowed(stored []Stored) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, platform := range Platforms() {
		otherPlatform := func(s Stored) bool { return s.Platform != platform }
		followed := slices.DeleteFunc(slices.Clone(h.followed), otherPlatform)
		current := slices.DeleteFunc(slices.Clone(stored), otherPlatform)
		for i := range max(len(followed), len(current)) {
			if i >= len(followed) || i >= len(current) || followed[i] != current[i] {
				return fmt.Errorf("%s: %d events followed and %d stored, different from index %d", platform, len(followed), len(current), i)
			}
		}
	}
	return nil
}

// Check compares the history with the stored events, in storage order for each platform.
func (h *History) Check(stored []Stored) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	problems := slices.Clone(h.problems)
	found := func(format string, arguments ...any) {
		problems = append(problems, fmt.Sprintf(format, arguments...))
	}
	texts := make(map[scopedName]string)
	markers := make(map[string]bool)
	references := make(map[scopedName]bool)
	last := make(map[string]string) // id by platform
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
			found("WRONG PLATFORM: %s is stored on %s", e.Description, s.Platform)
		}
		if markers[e.Description] {
			found("DUPLICATE: %s is stored more than once", e.Description)
		}
		if at := (scopedName{s.Platform, e.reference()}); at.name != "" {
			if references[at] {
				found("DUPLICATE: reference %s on %s is stored more than once", at.name, at.platform)
			}
			references[at] = true
		}
		texts[scopedName{s.Platform, e.ID}] = s.Text
		markers[e.Description] = true
	}
	for at, text := range h.ackedEvents {
		switch now, ok := texts[at]; {
		case !ok:
			found("LOST: %s was acknowledged and is not stored", text)
		case now != text:
			found("CHANGED: %s was acknowledged and is now %s", text, now)
		}
	}
	possible, acked := make(map[string]bool), make(map[string]bool)
	for r, f := range h.requests {
		for _, e := range r.events {
			possible[e.marker] = possible[e.marker] || f.acked || f.unknown
			acked[e.marker] = acked[e.marker] || f.acked
		}
	}
	for marker := range markers {
		if !possible[marker] {
			found("UNEXPECTED: %s is stored, but no request with it can have been stored", marker)
		}
	}
	for marker := range acked {
		if acked[marker] && !markers[marker] {
			found("LOST: %s was acknowledged and is not stored", marker)
		}
	}
	h.checkAtomic(markers, found)
	if len(problems) == 0 {
		return nil
	}
	text := fmt.Sprintf("%d problems", len(problems))
	for _, p := range problems[:min(len(problems), maxProblems)] {
		text += "\n  " + p
	}
	return errors.New(text)
}

// checkAtomic requires that an unacknowledged request is stored as a whole or not at all.
func (h *History) checkAtomic(markers map[string]bool, found func(string, ...any)) {
	senders := make(map[string]int)
	for r := range h.requests {
		seen := make(map[string]bool)
		for _, e := range r.events {
			if !seen[e.marker] {
				senders[e.marker]++
			}
			seen[e.marker] = true
		}
	}
	for r, f := range h.requests {
		if f.acked {
			continue
		}
		var stored, missing int
		for _, e := range r.events {
			switch {
			case senders[e.marker] > 1:
			case markers[e.marker]:
				stored++
			default:
				missing++
			}
		}
		if stored > 0 && missing > 0 {
			found("PARTIAL: %[2]d events of the request of %[1]s are stored and %[3]d are not", r.events[0].marker, stored, missing)
		}
	}
}

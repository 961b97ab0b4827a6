package crashtest

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/memstore"
)

func newTestHistory() (h *History, stored []Stored) {
	h = NewHistory()
	generate := func(number int, id string) (event, string) {
		e := eventKey{"acme", "c0", number, 0}.event(1)
		return e, `{"id":"` + id + `",` + e.json[1:]
	}
	request := func(events ...event) *request { return &request{platform: "acme", batch: true, events: events} }
	one, oneText := generate(1, "chda_1")
	two, twoText := generate(2, "chda_2")
	three, threeText := generate(3, "chda_3")
	four, _ := generate(4, "chda_4")
	h.acknowledged(request(one), []json.RawMessage{json.RawMessage(oneText)}, false)
	h.outcomeUnknown(request(two, three))
	h.notStored(request(four), "conflict")
	return h, []Stored{{"acme", "chda_1", oneText}, {"acme", "chda_2", twoText}, {"acme", "chda_3", threeText}}
}

func TestCheck(t *testing.T) {
	h, stored := newTestHistory()
	require.NoError(t, h.Check(stored))
	require.NoError(t, h.Check(stored[:1]), "events with unknown outcome may be missing")

	rejected := eventKey{"acme", "c0", 4, 0}.event(1)
	unexpected := Stored{"acme", "chda_4", `{"id":"chda_4",` + rejected.json[1:]}
	duplicate := stored[0]
	duplicate.ID = "chda_5"
	duplicate.Text = strings.Replace(duplicate.Text, "chda_1", "chda_5", 1)
	changed := stored[0]
	changed.Text = strings.Replace(changed.Text, `"number":"`, `"number":"9`, 1)
	misplaced := stored[0]
	misplaced.Platform = "globex"
	for name, c := range map[string]struct {
		stored []Stored
		want   string
	}{
		"an acknowledged event is missing":    {stored[1:], "LOST: "},
		"an event is stored twice":            {append(stored[:3:3], duplicate), "DUPLICATE: acme c0 1"},
		"a reference is stored twice":         {append(stored[:3:3], duplicate), "DUPLICATE: reference c0-1"},
		"an acknowledged event is changed":    {append([]Stored{changed}, stored[1:]...), "CHANGED: "},
		"a rejected event is stored":          {append(stored[:3:3], unexpected), "UNEXPECTED: acme c0 4"},
		"part of a batch is stored":           {stored[:2], "PARTIAL: "},
		"an event is on another platform":     {append(stored[:3:3], misplaced), "WRONG PLATFORM: acme c0 1"},
		"ids do not follow the storage order": {[]Stored{stored[1], stored[0], stored[2]}, "chda_1 follows chda_2"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newTestHistory()
			require.ErrorContains(t, h.Check(c.stored), c.want)
		})
	}
}

func TestCheckContradictoryResponses(t *testing.T) {
	e := eventKey{"acme", "c0", 1, 0}.event(1)
	text := func(id, field string) []json.RawMessage {
		return []json.RawMessage{json.RawMessage(`{"id":"` + id + `",` + field + e.json[1:])}
	}
	r := &request{platform: "acme", key: "k", events: []event{e}}
	for name, c := range map[string]struct {
		second []json.RawMessage
		want   string
	}{
		"an event changes":            {text("chda_1", `"x":1,`), "was returned as"},
		"a key returns another event": {text("chda_2", ""), "key k returned"},
		"more events than were sent":  {append(text("chda_1", ""), text("chda_1", "")...), "1 events were sent and 2 returned"},
		"a field changes": {[]json.RawMessage{json.RawMessage(strings.Replace(string(text("chda_1", "")[0]),
			e.marker, "other", 1))}, "description was sent as"},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHistory()
			h.acknowledged(r, text("chda_1", ""), false)
			h.acknowledged(r, c.second, true)
			require.ErrorContains(t, h.Check([]Stored{{"acme", "chda_1", string(text("chda_1", "")[0])}}), c.want)
		})
	}
}

func TestCheckConflict(t *testing.T) {
	with := func(variant int, key string) *request {
		return &request{platform: "acme", key: key, events: []event{eventKey{"acme", "c0", 1, variant}.event(1)}}
	}
	for name, other := range map[string]*request{
		"no other request": nil, "different content": with(1, ""), "another request with the key": {platform: "acme", key: "k"},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHistory()
			if other != nil {
				h.begin(other)
			}
			r := with(0, "k")
			h.begin(r)
			h.conflict(r)
			if other == nil {
				require.ErrorContains(t, h.Check(nil), "CONFLICT: ")
			} else {
				require.NoError(t, h.Check(nil))
			}
		})
	}
}

func TestCompareFollowed(t *testing.T) {
	h, stored := newTestHistory()
	h.followed = stored
	require.NoError(t, h.CompareFollowed(stored))
	require.Error(t, h.CompareFollowed(stored[:2]), "followed events are missing")
	require.Error(t, h.CompareFollowed([]Stored{stored[1], stored[0], stored[2]}))
	h.followed = stored[:2]
	require.Error(t, h.CompareFollowed(stored), "a stored event was not followed")
}

func TestTraffic(t *testing.T) {
	handler, err := NewHandler(memstore.New(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	srv := httptest.NewServer(handler)
	defer srv.Close()
	h := NewHistory()
	for _, c := range NewClients(1, 2, h, nil) {
		for range 500 {
			require.True(t, c.send(t.Context(), srv.URL, c.traffic.next()))
		}
		c.http.CloseIdleConnections()
	}
	stored, err := List(t.Context(), srv.URL)
	require.NoError(t, err)
	require.NoError(t, h.Check(stored))
	require.NoError(t, h.Follow(t.Context(), srv.URL))
	require.NoError(t, h.CheckFollowed())
	for _, kind := range []string{"stored", "replayed", "conflict"} {
		require.Greater(t, h.Count(kind), 10, kind)
	}
}

func TestTrafficSeed(t *testing.T) {
	a, b, other := newTraffic(7, 1), newTraffic(7, 1), newTraffic(8, 1)
	differ := false
	for range 200 {
		r := a.next()
		require.Equal(t, r, b.next())
		differ = differ || r.body() != other.next().body()
	}
	require.True(t, differ)
}

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

// told is a history of one request each that was acknowledged, whose answer got
// lost, and that was refused, and what a good store has of it.
func told() (h *History, stored []Stored) {
	h = NewHistory()
	answer := func(number int, id string) (event, string) {
		e := place{"acme", "c0", number, 0}.event(1)
		return e, `{"id":"` + id + `",` + e.json[1:]
	}
	request := func(events ...event) *request { return &request{platform: "acme", batch: true, events: events} }
	one, oneText := answer(1, "chda_1")
	two, twoText := answer(2, "chda_2")
	three, threeText := answer(3, "chda_3")
	four, _ := answer(4, "chda_4")
	h.acknowledged(request(one), []json.RawMessage{json.RawMessage(oneText)}, false)
	h.lost(request(two, three))
	h.refused(request(four), "conflict")
	return h, []Stored{{"acme", "chda_1", oneText}, {"acme", "chda_2", twoText}, {"acme", "chda_3", threeText}}
}

func TestAHistoryNamesWhatIsWrong(t *testing.T) {
	h, stored := told()
	require.NoError(t, h.Check(stored))
	require.NoError(t, h.Check(stored[:1]), "what is unknown need not be there")

	refused := place{"acme", "c0", 4, 0}.event(1)
	foreign := Stored{"acme", "chda_4", `{"id":"chda_4",` + refused.json[1:]}
	again := stored[0]
	again.ID = "chda_5"
	again.Text = strings.Replace(again.Text, "chda_1", "chda_5", 1)
	altered := stored[0]
	altered.Text = strings.Replace(altered.Text, `"number":"`, `"number":"9`, 1)
	crossed := stored[0]
	crossed.Platform = "globex"
	for name, c := range map[string]struct {
		stored []Stored
		want   string
	}{
		"an event that was acknowledged is missing": {stored[1:], "LOST: "},
		"one is there twice":                        {append(stored[:3:3], again), "DOUBLED: acme c0 1"},
		"a reference is there twice":                {append(stored[:3:3], again), "DOUBLED: reference c0-1"},
		"one is another than was acknowledged":      {append([]Stored{altered}, stored[1:]...), "ALTERED: "},
		"one that was refused is there":             {append(stored[:3:3], foreign), "FOREIGN: acme c0 4"},
		"half of a batch is there":                  {stored[:2], "HALF: "},
		"one is on another platform":                {append(stored[:3:3], crossed), "CROSSED: acme c0 1"},
		"the order is not that of the ids":          {[]Stored{stored[1], stored[0], stored[2]}, "chda_1 follows chda_2"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := told()
			require.ErrorContains(t, h.Check(c.stored), c.want)
		})
	}
}

func TestAnswersThatContradictEachOtherAreAProblem(t *testing.T) {
	e := place{"acme", "c0", 1, 0}.event(1)
	text := func(id, member string) []json.RawMessage {
		return []json.RawMessage{json.RawMessage(`{"id":"` + id + `",` + member + e.json[1:])}
	}
	r := &request{platform: "acme", key: "k", events: []event{e}}
	for name, c := range map[string]struct {
		second []json.RawMessage
		want   string
	}{
		"the same event otherwise":   {text("chda_1", `"x":1,`), "was answered as"},
		"a key with another event":   {text("chda_2", ""), "key k was answered with"},
		"more events than were sent": {append(text("chda_1", ""), text("chda_1", "")...), "1 events were sent and 2 answered"},
		"another event": {[]json.RawMessage{json.RawMessage(strings.Replace(string(text("chda_1", "")[0]),
			e.marker, "somebody's", 1))}, "description was sent as"},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHistory()
			h.acknowledged(r, text("chda_1", ""), false)
			h.acknowledged(r, c.second, true)
			require.ErrorContains(t, h.Check([]Stored{{"acme", "chda_1", string(text("chda_1", "")[0])}}), c.want)
		})
	}
}

func TestAConflictThatNobodyCausedIsAProblem(t *testing.T) {
	with := func(variant int, key string) *request {
		return &request{platform: "acme", key: key, events: []event{place{"acme", "c0", 1, variant}.event(1)}}
	}
	for name, other := range map[string]*request{
		"nobody": nil, "another content": with(1, ""), "another request with the key": {platform: "acme", key: "k"},
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

func TestAFollowerSeesJustWhatIsThere(t *testing.T) {
	h, stored := told()
	h.followed = stored
	require.NoError(t, h.CheckFollower(stored))
	require.Error(t, h.CheckFollower(stored[:2]), "what it saw is gone")
	require.Error(t, h.CheckFollower([]Stored{stored[1], stored[0], stored[2]}))
	h.followed = stored[:2]
	require.Error(t, h.CheckFollower(stored), "it was not told of one")
}

// TestTrafficHasEverythingInIt runs clients against a store that does not crash.
func TestTrafficHasEverythingInIt(t *testing.T) {
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

func TestEqualSeedsMakeEqualTraffic(t *testing.T) {
	a, b, other := newTraffic(7, 1), newTraffic(7, 1), newTraffic(8, 1)
	differ := false
	for range 200 {
		r := a.next()
		require.Equal(t, r, b.next())
		differ = differ || r.body() != other.next().body()
	}
	require.True(t, differ)
}

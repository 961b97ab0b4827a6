package inspector

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func rejected(platform, field string, at time.Time) *record {
	return &record{time: at, size: 1, status: 400, stats: chargeingest.RequestStats{
		Platform: platform, Status: 400, Code: chargeingest.CodeInvalidField, Field: field,
	}}
}

func stored(platform string, events, replayed int, at time.Time) *record {
	return &record{time: at, size: 1, status: 201, stats: chargeingest.RequestStats{
		Platform: platform, Status: 201, Route: chargeingest.RouteBatch, Events: events, Replayed: replayed,
	}}
}

func totals(minutes []minute) (accepted, replayed, rejected int) {
	for _, m := range minutes {
		accepted, replayed, rejected = accepted+m.accepted, replayed+m.replayed, rejected+m.rejected
	}
	return accepted, replayed, rejected
}

func TestMinutes(t *testing.T) {
	l, s := new(requestLog), scope{platform: "a"}
	end := testTime.Add(59*time.Minute + 30*time.Second)
	l.add(stored("a", 9, 0, testTime.Add(-time.Second)))
	l.add(stored("a", 5, 2, testTime))
	l.add(stored("b", 100, 0, testTime))
	slow := stored("a", 1, 0, testTime.Add(time.Second))
	slow.duration = time.Minute
	l.add(slow)
	l.add(rejected("a", "value.number", end))
	read := stored("a", 50, 0, end)
	read.stats.Route = chargeingest.RouteList
	l.add(read)

	minutes, _ := l.activity(s, end)
	require.Len(t, minutes, 60)
	require.Equal(t, minute{testTime, 3, 2, 0}, minutes[0])
	require.Equal(t, minute{testTime.Add(time.Minute), 1, 0, 0}, minutes[1])
	require.Equal(t, minute{testTime.Add(59 * time.Minute), 0, 0, 1}, minutes[59])
	accepted, replayed, failed := totals(minutes)
	require.Equal(t, []int{4, 2, 1}, []int{accepted, replayed, failed})

	minutes, refusals := l.activity(s, end.Add(59*time.Minute))
	require.Equal(t, 1, minutes[0].rejected)
	require.Len(t, refusals, 1)
	_, refusals = l.activity(s, end.Add(time.Hour))
	require.Empty(t, refusals)
}

func TestMinutesOfClocks(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"back a little": -time.Minute, "back an hour": -time.Hour, "back": -24 * 365 * time.Hour, "ahead": 24 * time.Hour,
		"before 1970": -100 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			l, s := new(requestLog), scope{platform: "a"}
			now := testTime.Add(30 * time.Second)
			l.add(rejected("a", "x", now))
			now = now.Add(jump)
			l.add(stored("a", 2, 0, now))
			l.add(rejected("a", "y", now))
			minutes, refusals := l.activity(s, now)
			require.Equal(t, minute{now.Truncate(time.Minute), 2, 0, 1}, minutes[59])
			require.Equal(t, []refusal{{"INVALID_FIELD", "y", 1}}, refusals)
		})
	}
}

func TestRefusals(t *testing.T) {
	i := newInspector(t)
	served := i.Middleware(newHandler(t))
	send := func(path, body string, headers ...string) {
		served.ServeHTTP(httptest.NewRecorder(), post(path, body, headers...))
	}
	invalid := strings.Replace(testEvent, `"order-42"`, "42", 1)
	for n := range 3 {
		send(eventPath+"s", `{"charge_datas":[`+strings.Repeat(testEvent+",", n)+invalid+`]}`)
	}
	send(eventPath, invalid)
	send(eventPath, "{", "X-Platform-Id: pf_b")
	i.Middleware(respondWith(http.StatusServiceUnavailable, "")).ServeHTTP(httptest.NewRecorder(), post(eventPath, ""))
	r := post(eventPath, "")
	r.Header.Del("X-Api-Key")
	served.ServeHTTP(httptest.NewRecorder(), r)

	minutes, refusals := i.requests.activity(scope{platform: "pf_a"}, testTime)
	require.Equal(t, 4, minutes[59].rejected)
	require.Equal(t, []refusal{{"INVALID_FIELD", "charge_datas.*.reference", 3}, {"INVALID_FIELD", "reference", 1}}, refusals)
	_, refusals = i.requests.activity(scope{platform: "pf_b"}, testTime)
	require.Equal(t, []refusal{{"BAD_REQUEST", "", 1}}, refusals)
	minutes, refusals = i.requests.activity(scope{platform: "pf_a", unidentified: true}, testTime)
	require.Equal(t, 6, minutes[59].rejected)
	require.Contains(t, refusals, refusal{"UNAUTHORISED", "", 1})
	minutes, _ = i.requests.activity(scope{unidentified: true}, testTime)
	require.Equal(t, 2, minutes[59].rejected)
}

func TestRefusalsAreBounded(t *testing.T) {
	l := new(requestLog)
	for n := range 300 {
		l.add(rejected("a", fmt.Sprintf("field%d", n), testTime))
	}
	_, refusals := l.activity(scope{platform: "a"}, testTime)
	require.Len(t, refusals, maxRefusalKinds+1)
	require.Equal(t, refusal{"INVALID_FIELD", otherField, 100}, refusals[0])
	for p := range 100 {
		for n := range 150 {
			l.add(rejected(fmt.Sprint("platform ", p), fmt.Sprintf("field%d", n), testTime))
		}
	}
	kinds := 0
	for _, a := range l.counters.platforms {
		kinds += len(a.refusals)
	}
	require.Equal(t, kinds, l.counters.refusals)
	require.LessOrEqual(t, kinds, maxAllRefusalKinds+101)
	_, refusals = l.activity(scope{platform: "platform 99"}, testTime)
	require.Equal(t, []refusal{{"INVALID_FIELD", otherField, 150}}, refusals)

	l.add(rejected("a", "field1", testTime.Add(30*time.Minute)))
	l.add(rejected("a", "later", testTime.Add(time.Hour)))
	require.Len(t, l.counters.platforms, 1, "idle platforms are dropped")
	require.Equal(t, len(l.counters.platforms["a"].refusals), l.counters.refusals)
	_, refusals = l.activity(scope{platform: "a"}, testTime.Add(time.Hour))
	require.Equal(t, []refusal{{"INVALID_FIELD", "field1", 1}, {"INVALID_FIELD", "later", 1}}, refusals)
}

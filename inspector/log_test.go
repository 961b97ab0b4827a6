package inspector

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func recordOf(platform string, size int64) *record {
	return &record{time: testTime, size: size, status: 200, stats: chargeingest.RequestStats{Platform: platform, Status: 200}}
}

func (l *requestLog) sizes(platform string) (sizes []int64) {
	for _, r := range l.list(scope{platform: platform}, 0, 0, 0) {
		sizes = append(sizes, r.size)
	}
	return sizes
}

func TestRecordIDs(t *testing.T) {
	l := new(requestLog)
	const maxSafe = 1<<53 - 1
	last := int64(0)
	for _, at := range []time.Time{
		testTime, testTime, testTime.Add(-time.Hour), testTime.Add(time.Second), {}, time.Unix(0, 0),
		time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), testTime.Add(time.Minute),
	} {
		for _, platform := range []string{"pf_a", "", "pf_b"} {
			r := recordOf(platform, 1)
			r.time = at
			l.add(r)
			require.Greater(t, r.id, last, at)
			require.LessOrEqual(t, r.id, int64(maxSafe))
			last = r.id
		}
	}
	require.Equal(t, testTime.Add(time.Minute).UnixMicro()+2, last)
	empty := new(requestLog)
	r := recordOf("", 1)
	r.time = time.Time{}
	empty.add(r)
	require.Equal(t, int64(1), r.id)
}

func TestFairLog(t *testing.T) {
	t.Run("a flood keeps the records of others", func(t *testing.T) {
		l := &requestLog{maxRequests: 100, maxBytes: 100_000}
		for range 5 {
			l.add(recordOf("quiet", 2000))
		}
		for n := range 1000 {
			l.add(recordOf("loud", 1))
			l.add(recordOf("", int64(n)))
			l.add(recordOf("large", 20_000))
		}
		require.Len(t, l.sizes("quiet"), 5)
		require.NotEmpty(t, l.sizes("loud"))
		require.NotEmpty(t, l.sizes(""))
		require.NotEmpty(t, l.sizes("large"))
	})
	t.Run("a flood of platforms", func(t *testing.T) {
		l := &requestLog{maxRequests: 100, maxBytes: 1 << 20}
		l.add(recordOf("quiet", 20_000))
		for n := range 99 {
			l.add(recordOf(fmt.Sprint(n), 1))
		}
		l.add(recordOf("7", 1))
		require.Equal(t, []int64{1}, l.sizes("7"), "it had two")
		require.Len(t, l.sizes("quiet"), 1)
		l.add(recordOf("one more", 1))
		require.Empty(t, l.sizes("quiet"), "each has one: the oldest goes")
		require.Len(t, l.platforms, 100)
		require.Len(t, l.queue, 100)
	})
	t.Run("a record larger than the log", func(t *testing.T) {
		l := &requestLog{maxRequests: 100, maxBytes: 1000}
		l.add(recordOf("a", 400))
		l.add(recordOf("a", 1001))
		l.add(recordOf("b", 500))
		require.Equal(t, []int64{400}, l.sizes("a"))
		require.Equal(t, []int64{500}, l.sizes("b"))
	})
}

func TestLogModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l := &requestLog{maxRequests: 50, maxBytes: 20_000}
	platforms := []string{"", "a", "b", "c", "d"}
	var added []*record
	for range 400 {
		r := recordOf(platforms[min(random.IntN(9), len(platforms)-1)], random.Int64N(3000))
		l.add(r)
		added = append(added, r)
		kept, count, bytes := map[int64]bool{}, 0, int64(0)
		for _, platform := range platforms {
			list := l.list(scope{platform: platform}, 0, 0, 0)
			same := []*record{}
			for _, r := range slices.Backward(added) {
				if r.stats.Platform == platform && len(same) < len(list) {
					same = append(same, r)
				}
			}
			require.Equal(t, same, list, "the newest ones, in order")
			for _, r := range list {
				kept[r.id], count, bytes = true, count+1, bytes+r.size
			}
		}
		require.Equal(t, []int64{int64(count), bytes}, []int64{int64(l.count), l.bytes})
		require.True(t, count <= 50 && bytes <= 20_000)
		require.Len(t, l.queue, len(l.platforms))

		s := scope{platforms[random.IntN(len(platforms))], random.IntN(2) == 0}
		first, last := added[random.IntN(len(added))].id, added[random.IntN(len(added))].id
		var want []*record
		for _, r := range slices.Backward(added) {
			visible := kept[r.id] && (r.stats.Platform == s.platform || s.unidentified && r.stats.Platform == "")
			if visible && r.id > first && r.id < last {
				want = append(want, r)
			}
			if found := l.get(s, r.id); (found != nil) != visible || visible && found.size != r.size {
				require.Failf(t, "get", "record %d: %v", r.id, found)
			}
		}
		require.ElementsMatch(t, want, l.list(s, first, last, 0))
		require.True(t, slices.IsSortedFunc(l.list(s, first, last, 0), func(a, b *record) int { return int(b.id - a.id) }))
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestNewest(t *testing.T) {
	l := new(requestLog)
	own, both := scope{platform: "pf_a"}, scope{platform: "pf_a", unidentified: true}
	changed, unidentifiedChanged := l.changed("pf_a"), l.changed("")
	require.Zero(t, l.newest(own))
	l.add(recordOf("pf_b", 1))
	require.False(t, isClosed(changed) || isClosed(unidentifiedChanged))
	l.add(recordOf("", 1))
	require.False(t, isClosed(changed))
	require.True(t, isClosed(unidentifiedChanged))
	r := recordOf("pf_a", 1)
	l.add(r)
	require.True(t, isClosed(changed))
	require.Equal(t, r.id, l.newest(own))
	require.False(t, isClosed(l.changed("pf_a")))
	unidentified := recordOf("", 1)
	l.add(unidentified)
	require.Equal(t, unidentified.id, l.newest(both))
	require.Nil(t, l.get(own, unidentified.id))
	require.Equal(t, []*record{r}, l.list(own, 0, 0, 0))
}

func TestDroppedRecordsInUse(t *testing.T) {
	i := newInspector(t, func(c *Config) { c.MaxRequests = 1 })
	served := i.Middleware(newHandler(t))
	var id int64
	own := scope{platform: "pf_a"}
	for name, read := range map[string]func() *record{
		"list": func() *record { return i.requests.list(own, 0, 0, 0)[0] },
		"get":  func() *record { return i.requests.get(own, id) },
	} {
		t.Run(name, func(t *testing.T) {
			served.ServeHTTP(httptest.NewRecorder(), post(eventPath, testEvent, "X-Text: first"))
			id = i.requests.newest(own)
			used := read()
			require.JSONEq(t, testEvent, string(used.body))
			for range 100 {
				served.ServeHTTP(httptest.NewRecorder(), post(eventPath, strings.ToUpper(testEvent), "X-Text: OTHER"))
			}
			require.JSONEq(t, testEvent, string(used.body))
			require.Equal(t, "first", used.header.value("X-Text"))
			require.Equal(t, id, used.id)
		})
	}
}

func TestLargeRecordsAreNotReused(t *testing.T) {
	i := newInspector(t, func(c *Config) { c.MaxRequests = 1 })
	served := i.Middleware(newHandler(t))
	for range 100 {
		large := post(eventPath, testEvent)
		for n := range 8 {
			large.Header.Set(fmt.Sprintf("X-Text-%d", n), strings.Repeat("x", 8000))
		}
		served.ServeHTTP(httptest.NewRecorder(), large)
		require.LessOrEqual(t, cap(i.requests.newRecord(testTime).memory), pooledBytes)
	}
}

func TestAddIgnoresOtherPlatforms(t *testing.T) {
	l := &requestLog{maxRequests: 1}
	allocations := func() float64 {
		return testing.AllocsPerRun(10, func() { l.add(recordOf("pf_a", 1)) })
	}
	before := allocations()
	for n := range 1000 {
		l.changed("pf_" + strconv.Itoa(n))
	}
	require.InDelta(t, before, allocations(), 5)
}

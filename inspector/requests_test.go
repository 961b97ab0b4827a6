package inspector

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

type shownList struct {
	Requests       []summary
	Newest, Oldest int64
	More           bool
}

func asGzip(t *testing.T, r *record, text string) {
	r.body = gzipped(t, text)
	r.header += headerOf("Content-Encoding", "gzip")
}

func TestRequestFilters(t *testing.T) {
	i := newViewed(t, func(cfg *Config) { cfg.ShowUnauthenticated = true })
	add := func(name string, change func(*record)) {
		addRecord(i, func(r *record) {
			r.note = "name=" + name + ";"
			change(r)
		})
	}
	add("stored", func(*record) {})
	add("batch", func(r *record) {
		r.stats.Route, r.status = chargeingest.RouteBatch, 409
		r.stats.Code, r.stats.Field = chargeingest.CodeResourceAlreadyExists, "charge_datas.1.reference"
		r.body = []byte(`{"charge_datas":[{"reference":"order-1","customer_id":"c-2"},{"reference":"order-2","customer_reference":"c-1"}]}`)
	})
	add("escaped", func(r *record) { r.body = []byte(`{"reference":"\u006frder-1","customer_id":"a\"b"}`) })
	add("zipped", func(r *record) { asGzip(t, r, `{"reference":"order-9","description":"Zipped Text"}`) })
	add("aborted", func(r *record) { r.status, r.stats, r.body = 0, chargeingest.RequestStats{}, nil })
	add("fault", func(r *record) {
		r.status, r.stats, r.response, r.body = 503, chargeingest.RequestStats{}, []byte(`{"code":"FAULT","field":"x"}`), nil
	})
	add("listing", func(r *record) {
		r.method, r.uri, r.stats.Route, r.body = "GET", "/v1/ingest/charge-data?Customer_ID=c-7", chargeingest.RouteList, nil
	})
	for _, c := range []struct{ query, want string }{
		{"", "listing fault aborted zipped escaped batch stored"},
		{"status=&text=", "listing fault aborted zipped escaped batch stored"},
		{"status=2xx", "listing zipped escaped stored"},
		{"status=4xx", "batch"},
		{"status=5xx", "fault"},
		{"status=409", "batch"},
		{"status=none", "aborted"},
		{"code=RESOURCE_ALREADY_EXISTS", "batch"},
		{"code=FAULT", "fault"},
		{"code=resource", ""},
		{"reference=order-1", "escaped batch stored"},
		{"reference=order-2", "batch"},
		{"reference=order", ""},
		{"reference=order-9", "zipped"},
		{"customer=c-1", "batch stored"},
		{"customer=c-2", "batch"},
		{`customer=a"b`, "escaped"},
		{"reference=order-1&customer=c-1", "stored"},
		{"route=charge-data", "zipped escaped stored"},
		{"route=charge-datas", "batch"},
		{"route=charge-data%20list", "listing"},
		{"route=none", "fault aborted"},
		{"text=ZIPPED+text", "zipped"},
		{"text=name=batch;", "batch"},
		{"text=customer_id%3Dc-7", "listing"},
		{"text=FAULT", "fault"},
		{"text=APPLICATION/json", "listing fault aborted zipped escaped batch stored"},
		{"text=ORDER-1&status=4xx", "batch"},
		{"text=%00", "400 text"},
		{"text=" + strings.Repeat("x", 1025), "400 text"},
		{"status=3xx", "400 status"},
		{"status=99", "400 status"},
		{"route=charge", "400 route"},
		{"limit=0", "400 limit"},
		{"limit=1001", "400 limit"},
		{"after=x", "400 after"},
		{"before=-1", "400 before"},
		{"reference=a&reference=b", "400 reference"},
		{"code=%ff", "400 code"},
		{"code=%zz", "400 code"},
		{"customer_id=c-1", "400 customer_id"},
		{"<script>=1", "400 <script>"},
	} {
		t.Run(c.query[:min(len(c.query), 40)], func(t *testing.T) {
			w := call{key: "ada"}.do(i, "api/requests?"+strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E").Replace(c.query))
			if field, rejected := strings.CutPrefix(c.want, "400 "); rejected {
				var e chargeingest.Violation
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e))
				require.Equal(t, http.StatusBadRequest, w.Code)
				require.Equal(t, chargeingest.CodeInvalidField, e.Code)
				require.Equal(t, field, e.Field)
				require.True(t, strings.HasPrefix(e.Message, field+" "), e.Message)
				require.NotContains(t, w.Body.String(), "<")
				return
			}
			require.Equal(t, http.StatusOK, w.Code, w.Body)
			var list shownList
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
			names := make([]string, 0, len(list.Requests))
			for _, r := range list.Requests {
				name := strings.TrimPrefix(r.Note, "name=")
				names = append(names, strings.TrimSuffix(name, ";"))
			}
			require.Equal(t, c.want, strings.Join(names, " "))
		})
	}
}

func TestTextAtWindowEdges(t *testing.T) {
	for _, at := range []int{0, 1, 16<<10 - 3, 16<<10 - 1, 16 << 10, 40_000} {
		i := newViewed(t, nil)
		addRecord(i, func(r *record) { r.body = []byte(strings.Repeat("x", at) + "NeedLE") })
		require.Len(t, get[shownList](t, i, "ada", "api/requests?text=needle").Requests, 1, at)
		require.Empty(t, get[shownList](t, i, "ada", "api/requests?text=needles").Requests, at)
	}
}

func TestRequestPages(t *testing.T) {
	i := newViewed(t, nil)
	const n = 250
	var ids []int64
	for k := range n {
		ids = append(ids, addRecord(i, func(r *record) { r.note = fmt.Sprint("group ", k%2) }))
	}
	newestFirst := func(list shownList) (found []int64) {
		for _, r := range list.Requests {
			found = append(found, r.ID)
		}
		return found
	}
	list := get[shownList](t, i, "ada", "api/requests")
	require.Len(t, list.Requests, 200)
	require.Equal(t, []any{true, ids[n-1], ids[n-200]}, []any{list.More, list.Newest, list.Oldest})

	list = get[shownList](t, i, "ada", fmt.Sprintf("api/requests?before=%d", list.Oldest))
	require.Len(t, list.Requests, 50)
	require.Equal(t, []any{false, int64(0)}, []any{list.More, list.Oldest})
	require.Less(t, list.Newest, ids[n-200])

	list = get[shownList](t, i, "ada", fmt.Sprintf("api/requests?after=%d", ids[n-3]))
	require.Equal(t, []int64{ids[n-1], ids[n-2]}, newestFirst(list))

	list = get[shownList](t, i, "ada", fmt.Sprintf("api/requests?after=%d", ids[n-1]))
	require.Equal(t, shownList{Requests: []summary{}, Newest: ids[n-1], Oldest: ids[n-1]}, list)

	list = get[shownList](t, i, "ada", fmt.Sprintf("api/requests?after=%d", ids[n-1]+1e9))
	require.Equal(t, ids[n-1], list.Newest, "the page had the list of an earlier process")

	var found []int64
	for before := int64(1) << 52; ; {
		list = get[shownList](t, i, "ada", fmt.Sprintf("api/requests?text=group+1&limit=40&before=%d", before))
		found = append(found, newestFirst(list)...)
		if before = list.Oldest; !list.More {
			break
		}
	}
	require.Len(t, found, n/2)
}

func TestSummariesOfManyRequests(t *testing.T) {
	i := newViewed(t, nil)
	for k := range 3000 {
		addRecord(i, func(r *record) { r.note = fmt.Sprint(k) })
	}
	for range 2 {
		list := get[shownList](t, i, "ada", "api/requests?limit=1000")
		for k, r := range list.Requests {
			require.Equal(t, fmt.Sprint(2999-k), r.Note)
		}
		require.Len(t, get[shownList](t, i, "ada", "api/requests?text=1234").Requests, 1)
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	r := sampleRecord(func(r *record) { asGzip(t, r, strings.Repeat("x", 64<<20)) })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body := decodedBody(r, 1<<10)
	runtime.ReadMemStats(&after)
	require.Len(t, body.text, 1<<10)
	require.True(t, body.truncated)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestRecentList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, nil)
		var ids []int64
		add := func() {
			for _, platform := range []string{"a", "b"} {
				ids = append(ids, addRecord(i, func(r *record) { r.stats.Platform = platform }))
			}
		}
		newest := func(key, query string) int64 { return get[shownList](t, i, key, "api/requests?limit=2&"+query).Newest }
		for range 4 {
			add()
		}
		behind, near := fmt.Sprintf("after=%d", ids[0]), fmt.Sprintf("after=%d", ids[4])
		require.Equal(t, ids[6], newest("ada", behind))
		add()
		require.Equal(t, ids[6], newest("ada", behind))
		require.Equal(t, ids[6], newest("ada", fmt.Sprintf("after=%d", ids[2])))
		for _, query := range []string{near, "", "status=201&" + behind} {
			require.Equal(t, ids[8], newest("ada", query), query)
		}
		require.Equal(t, ids[9], newest("bob", behind))
		require.Equal(t, ids[8], newest("ada", behind), "another list took its place")
		add()
		require.Equal(t, ids[8], newest("ada", behind))
		time.Sleep(maxListAge)
		require.Equal(t, ids[10], newest("ada", behind))
	})
}

func TestSearchOfAllRequests(t *testing.T) {
	i := newViewed(t, nil)
	var want []int64
	for n := range 2500 {
		id := addRecord(i, func(r *record) { r.status = 200 + n%3 })
		if n%3 == 2 {
			want = append([]int64{id}, want...)
		}
	}
	var found []int64
	for _, r := range get[shownList](t, i, "ada", "api/requests?limit=1000&status=202").Requests {
		found = append(found, r.ID)
	}
	require.Equal(t, want, found)
}

func TestSearchIsBounded(t *testing.T) {
	i := newViewed(t, nil)
	bomb := gzipped(t, strings.Repeat(" ", 8<<20))
	addRecord(i, func(r *record) { r.note = "needle" })
	for range 300 {
		addRecord(i, func(r *record) {
			r.body, r.header = bomb, headerOf("Content-Encoding", "gzip")
		})
	}
	calls, found := 0, 0
	for before := int64(1) << 52; ; calls++ {
		list := get[shownList](t, i, "ada", fmt.Sprintf("api/requests?text=needle&before=%d", before))
		found += len(list.Requests)
		if !list.More {
			break
		}
		require.Less(t, list.Oldest, before)
		before = list.Oldest
	}
	require.Equal(t, 1, found)
	require.Greater(t, calls, 1, "one call decompresses everything")
}

func TestListIsBounded(t *testing.T) {
	const requests = 300
	i := newViewed(t, nil)
	for range requests {
		addRecord(i, func(r *record) {
			text := strings.Repeat("&", maxText)
			r.method, r.note, r.stats.Subject, r.stats.RequestID = text, text, text, text
		})
	}
	found := 0
	for before := int64(1) << 52; ; {
		w := call{key: "ada"}.do(i, fmt.Sprintf("api/requests?limit=1000&before=%d", before))
		require.Less(t, w.Body.Len(), 5<<20)
		var list shownList
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
		if found += len(list.Requests); !list.More {
			break
		}
		require.Less(t, list.Oldest, before)
		before = list.Oldest
	}
	require.Equal(t, requests, found)
}

func TestSummary(t *testing.T) {
	i := newViewed(t, nil)
	addRecord(i, func(r *record) {
		r.status, r.stats.Route = 400, chargeingest.RouteBatch
		r.stats.Code, r.stats.Field, r.stats.Events = chargeingest.CodeInvalidField, "charge_datas.0.value.number", 0
		r.body = []byte(`{"charge_datas":[{"reference":"a"},{},{"reference":"b"},{"reference":"c"},{"reference":"d"}]}`)
		r.note = "fault"
	})
	w := call{key: "ada"}.do(i, "api/requests")
	id := i.requests.list(scope{platform: "a"}, 0, 0, 0)[0].id
	require.JSONEq(t, fmt.Sprintf(`{"newest":%d,"oldest":0,"more":false,"requests":[{"id":%d,"time":%q,"method":"POST","path":"/v1/ingest/charge-data",
		"route":"charge-datas","status":400,"platform":"a","subject":"Cy","identified":true,"events":0,"replayed":0,"duration_ms":1.234,
		"code":"INVALID_FIELD","field":"charge_datas.0.value.number","request_id":"reqr_1","client":"192.0.2.1:5000",
		"references":["a","b","c"],"event_count":5,"note":"fault"}]}`, id, id, testTime.Format(time.RFC3339Nano)), w.Body.String())
}

func TestSummaryOfMiddlewareResponses(t *testing.T) {
	i := newViewed(t, func(cfg *Config) { cfg.ShowUnauthenticated = true })
	addRecord(i, func(r *record) {
		r.status, r.stats = 503, chargeingest.RequestStats{}
		r.response, r.responseHeader = []byte(`{"code":"FAULT","field":"x"}`), headerOf("X-Request-Id", "q")
	})
	s := get[shownList](t, i, "ada", "api/requests").Requests[0]
	require.Equal(t, []any{"FAULT", "x", "q", false, "", ""}, []any{s.Code, s.Field, s.RequestID, s.Identified, s.Platform, s.Route})
}

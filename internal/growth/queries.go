package growth

import (
	"fmt"
	"net/http"
	"strings"
)

func pathCases() []Case {
	var cases []Case
	for _, p := range []struct {
		name   string
		status int
		path   func(n int) string
	}{
		{"slashes", http.StatusNotFound, func(n int) string { return strings.Repeat("/", n) }},
		{"dots", http.StatusNotFound, func(n int) string { return repeat("/..", n) }},
		{"escapes", http.StatusNotFound, func(n int) string { return "/" + repeat("%2F", n) }},
		{"a long version", http.StatusBadRequest, func(n int) string { return "/v" + strings.Repeat("1", n) + "/ingest/charge-data" }},
		{"a version of escapes", http.StatusBadRequest, func(n int) string { return "/v" + repeat("%C3%A9", n) + "/ingest/charge-data" }},
		{"a long id", http.StatusNotFound, func(n int) string { return singlePath + "/" + strings.Repeat("a", n) }},
		{"an id of escapes", http.StatusNotFound, func(n int) string { return singlePath + "/" + repeat("%00%22", n) }},
	} {
		cases = append(cases, Case{"path: " + p.name, headerSize, func(n int) attack {
			return attack{calls: []call{get(p.path(n), p.status)}}
		}})
	}
	return append(cases, Case{"a long method", headerSize, func(n int) attack {
		c := get(singlePath, http.StatusMethodNotAllowed)
		c.method = strings.Repeat("M", n)
		return attack{calls: []call{c}}
	}})
}

func queryCases() []Case {
	pairs := func(format string) func(n int) string {
		return func(n int) string {
			return strings.ReplaceAll(fill(n, func(i int) string { return strings.ReplaceAll(format, "#", fmt.Sprint(i)) }), ",", "&")
		}
	}
	var cases []Case
	for _, q := range []struct {
		name   string
		status int
		query  func(n int) string
	}{
		{"unknown names", anyErrorStatus, pairs("x#=1")},
		{"unknown names without values", anyErrorStatus, pairs("x#")},
		{"one unknown name", anyErrorStatus, pairs("x=#")},
		{"one known name", anyErrorStatus, pairs("reference=#")},
		{"one known name, malformed", anyErrorStatus, pairs("reference=%#")},
		{"names of dots", anyErrorStatus, pairs("x#" + strings.Repeat(".", 100) + "=1")},
		{"one name of dots, and more", anyErrorStatus, func(n int) string {
			return "b" + strings.Repeat(".", n/2) + "&" + pairs("a#=1")(n/2)
		}},
		{"escaped names", anyErrorStatus, pairs("%78%2e%C3%A9#=%00")},
		{"malformed escapes", anyErrorStatus, pairs("x#=%zz")},
		{"escapes of invalid UTF-8", anyErrorStatus, pairs("%ff#=1")},
		{"a name of invalid UTF-8", anyErrorStatus, func(n int) string { return repeat("a%ff", n) + "=1" }},
		{"a long name", anyErrorStatus, func(n int) string { return strings.Repeat("x", n) + "=1" }},
		{"a long value", anyErrorStatus, func(n int) string { return "customer_id=" + strings.Repeat("x", n) }},
		{"a long cursor", anyErrorStatus, func(n int) string { return "after=" + strings.Repeat("A", n) }},
		{"a long number", anyErrorStatus, func(n int) string { return "limit=" + strings.Repeat("1", n) }},
		{"a long date", anyErrorStatus, func(n int) string { return "from=2026-01-01T00:00:00." + strings.Repeat("1", n) + "Z" }},
		{"a long order", anyErrorStatus, func(n int) string { return "order=" + strings.Repeat("asc", n/3) }},
		{"many ampersands", anyStatus, func(n int) string { return strings.Repeat("&", n) }},
		{"many equals signs", anyErrorStatus, func(n int) string { return strings.Repeat("=", n) }},
	} {
		cases = append(cases, Case{"query: " + q.name, headerSize, func(n int) attack {
			return attack{calls: []call{get(singlePath+"?"+q.query(n), q.status)}}
		}})
	}
	return append(cases, Case{"query: of a POST", headerSize, func(n int) attack {
		return attack{calls: []call{post(singlePath+"?"+pairs("x#=1")(n), event(), http.StatusCreated)}}
	}})
}

func listingCases() []Case {
	stored := func(n int) []call {
		return []call{post(batchPath, batch(events(n, func(i int) string {
			return fmt.Sprintf(`"customer_id":"c","reference":"r%06d"`, i)
		})...), http.StatusCreated)}
	}
	var cases []Case
	for _, q := range []struct{ name, query string }{
		{"newest first", ""},
		{"oldest first", "order=asc"},
		{"an indexed filter", "customer_id=c"},
		{"a scan without a result", "product_item_id=none"},
		{"a scan by time", "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"},
	} {
		cases = append(cases, Case{"listing: " + q.name, caseSize, func(n int) attack {
			return attack{setup: stored(n), calls: []call{get(singlePath+"?limit=1000&"+q.query, http.StatusOK)}}
		}})
	}
	return append(cases, Case{"listing: a large event", caseSize, func(n int) attack {
		return attack{configure: keepOnly,
			setup: []call{post(singlePath, event(`"x":`+quote(strings.Repeat("x", n))), http.StatusCreated)},
			calls: []call{get(singlePath, http.StatusOK)},
		}
	}})
}

package growth

import (
	"fmt"
	"net/http"
	"strings"
)

// pathCases have extreme paths, ids and methods.
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
		{"a long id", http.StatusNotFound, func(n int) string { return single + "/" + strings.Repeat("a", n) }},
		{"an id of escapes", http.StatusNotFound, func(n int) string { return single + "/" + repeat("%00%22", n) }},
	} {
		cases = append(cases, Case{"path: " + p.name, headerSize, func(n int) attack {
			return attack{calls: []call{get(p.path(n), p.status)}}
		}})
	}
	return append(cases, Case{"a long method", headerSize, func(n int) attack {
		c := get(single, http.StatusMethodNotAllowed)
		c.method = strings.Repeat("M", n)
		return attack{calls: []call{c}}
	}})
}

// queryCases have extreme parameters of a listing.
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
		{"unknown names", anyError, pairs("x#=1")},
		{"unknown names without values", anyError, pairs("x#")},
		{"one unknown name", anyError, pairs("x=#")},
		{"one known name", anyError, pairs("reference=#")},
		{"one known name, malformed", anyError, pairs("reference=%#")},
		{"names of dots", anyError, pairs("x#" + strings.Repeat(".", 100) + "=1")},
		{"one name of dots, and more", anyError, func(n int) string {
			return "b" + strings.Repeat(".", n/2) + "&" + pairs("a#=1")(n/2)
		}},
		{"escaped names", anyError, pairs("%78%2e%C3%A9#=%00")},
		{"malformed escapes", anyError, pairs("x#=%zz")},
		{"escapes that are not UTF-8", anyError, pairs("%ff#=1")},
		{"a name that is not UTF-8", anyError, func(n int) string { return repeat("a%ff", n) + "=1" }},
		{"a long name", anyError, func(n int) string { return strings.Repeat("x", n) + "=1" }},
		{"a long value", anyError, func(n int) string { return "customer_id=" + strings.Repeat("x", n) }},
		{"a long cursor", anyError, func(n int) string { return "after=" + strings.Repeat("A", n) }},
		{"a long number", anyError, func(n int) string { return "limit=" + strings.Repeat("1", n) }},
		{"a long date", anyError, func(n int) string { return "from=2026-01-01T00:00:00." + strings.Repeat("1", n) + "Z" }},
		{"a long order", anyError, func(n int) string { return "order=" + strings.Repeat("asc", n/3) }},
		{"many ampersands", anyStatus, func(n int) string { return strings.Repeat("&", n) }},
		{"many equals signs", anyError, func(n int) string { return strings.Repeat("=", n) }},
	} {
		cases = append(cases, Case{"query: " + q.name, headerSize, func(n int) attack {
			return attack{calls: []call{get(single+"?"+q.query(n), q.status)}}
		}})
	}
	// The query of a POST means nothing.
	return append(cases, Case{"query: of a POST", headerSize, func(n int) attack {
		return attack{calls: []call{post(single+"?"+pairs("x#=1")(n), event(), http.StatusCreated)}}
	}})
}

// listingCases have n bytes of stored events.
func listingCases() []Case {
	stored := func(n int) []call {
		return []call{post(batched, batch(events(n, func(i int) string {
			return fmt.Sprintf(`"customer_id":"c","reference":"r%06d"`, i)
		})...), http.StatusCreated)}
	}
	var cases []Case
	for _, q := range []struct{ name, query string }{
		{"last stored first", ""},
		{"first stored first", "order=asc"},
		{"an indexed filter", "customer_id=c"},
		{"a scan without a result", "product_item_id=none"},
		{"a scan by time", "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"},
	} {
		cases = append(cases, Case{"listing: " + q.name, size, func(n int) attack {
			return attack{before: stored(n), calls: []call{get(single+"?limit=1000&"+q.query, http.StatusOK)}}
		}})
	}
	return append(cases, Case{"listing: a large event", size, func(n int) attack {
		return attack{configure: keeping,
			before: []call{post(single, event(`"x":`+quote(strings.Repeat("x", n))), http.StatusCreated)},
			calls:  []call{get(single, http.StatusOK)},
		}
	}})
}

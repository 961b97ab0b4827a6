package growth

import (
	"net/http"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// size is that of the smaller run of most cases. The fixed cost of a request is
// small next to it, and a quadratic larger run still takes only a second.
const size = 24 << 10

// Paths of the endpoints.
const (
	single  = "/v1/ingest/charge-data"
	batched = "/v1/ingest/charge-datas"
)

// Cases returns all cases, in a fixed order.
func Cases() []Case {
	return slices.Concat(
		nameCases(), nestingCases(), valueCases(), besideCases(),
		batchCases(), repeatCases(), conflictCases(),
		gzipCases(), headerCases(), pathCases(), queryCases(), listingCases(), ingestCases(),
	)
}

// Find returns the case of that name.
func Find(name string) (Case, bool) {
	all := append(Cases(), SelfTests()...)
	i := slices.IndexFunc(all, func(c Case) bool { return c.Name == name })
	if i < 0 {
		return Case{}, false
	}
	return all[i], true
}

func keepUnknown(c *chargeingest.Config)    { c.KeepUnknownFields = true }
func returnOriginal(c *chargeingest.Config) { c.Duplicates = chargeingest.ReturnOriginal }

// post is a call with a body of JSON. headers are names and values in turn.
func post(target, body string, status int, headers ...string) call {
	header := http.Header{"Content-Type": {"application/json"}}
	for i := 1; i < len(headers); i += 2 {
		header.Add(headers[i-1], headers[i])
	}
	return call{method: http.MethodPost, target: target, header: header, body: []byte(body), status: status}
}

func get(target string, status int) call {
	c := post(target, "", status)
	c.method = http.MethodGet
	return c
}

// event is an event with the required fields and the members given, each with
// its name.
func event(members ...string) string {
	required := `"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p"`
	return "{" + strings.Join(append([]string{required}, members...), ",") + "}"
}

func batch(events ...string) string {
	return `{"charge_datas":[` + strings.Join(events, ",") + "]}"
}

// fill joins items with commas until there are n bytes.
func fill(n int, item func(i int) string) string {
	var b strings.Builder
	for i := 0; i == 0 || b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	return b.String()
}

// quote is a string of plain characters as JSON.
func quote(s string) string { return `"` + s + `"` }

// repeat repeats s until there are n bytes.
func repeat(s string, n int) string { return strings.Repeat(s, max(1, n/len(s))) }

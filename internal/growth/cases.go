package growth

import (
	"net/http"
	"slices"
	"strings"

	"example.com/chargeingest"
)

const caseSize = 24 << 10

const (
	singlePath = "/v1/ingest/charge-data"
	batchPath  = "/v1/ingest/charge-datas"
)

// Cases returns all cases.
func Cases() []Case {
	return slices.Concat(
		nameCases(), nestingCases(), valueCases(), siblingCases(),
		batchCases(), replayCases(), conflictCases(),
		gzipCases(), headerCases(), pathCases(), queryCases(), listingCases(), ingestCases(),
	)
}

// Find finds a case by name.
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

func event(fields ...string) string {
	required := `"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p"`
	return "{" + strings.Join(append([]string{required}, fields...), ",") + "}"
}

func batch(events ...string) string {
	return `{"charge_datas":[` + strings.Join(events, ",") + "]}"
}

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

func quote(s string) string { return `"` + s + `"` }

func repeat(s string, n int) string { return strings.Repeat(s, max(1, n/len(s))) }

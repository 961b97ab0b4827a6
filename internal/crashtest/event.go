package crashtest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// Platforms returns the platforms of the requests.
func Platforms() []string { return []string{"acme", "globex"} }

type eventKey struct {
	platform string
	sequence string // client, "common" or unreferenced
	number   int
	variant  int // same reference, different content
}

const unreferenced = "loose"

type event struct {
	marker    string // unique description
	reference string
	json      string
}

func (p eventKey) event(seed uint64) event {
	e := event{marker: fmt.Sprintf("%s %s %d v%d", p.platform, p.sequence, p.number, p.variant)}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(e.marker))
	random := rand.New(rand.NewPCG(seed, hash.Sum64())) //nolint:gosec // reproducible, not secret

	fields := map[string]any{
		"product_item_id": "proi_1", "pricing_id": "pric_1", "pricing_item_id": "prii_1", "pricing_item_config_id": "pico_1",
		"description":        e.marker,
		"customer_reference": fmt.Sprintf("customer %d", random.IntN(50)),
		"value":              map[string]any{"number": fmt.Sprintf("%d.%02d", random.IntN(1e6), random.IntN(100))},
	}
	if p.sequence != unreferenced {
		e.reference = fmt.Sprintf("%s-%d", p.sequence, p.number)
		fields["reference"] = e.reference
	}
	if random.IntN(4) > 0 {
		fields["timestamp"] = fmt.Sprintf("2026-%02d-%02dT%02d:00:00Z", 1+random.IntN(12), 1+random.IntN(28), random.IntN(24))
	}
	if random.IntN(10) == 0 {
		entry := map[string]any{"field": "PRICING_PLAN_REFERENCE", "value": strings.Repeat("x", 200)}
		var data []any
		for range 1 + random.IntN(60) {
			data = append(data, entry)
		}
		fields["pricing_plan_subscription_selector"] = map[string]any{"data": data}
	}
	text, _ := json.Marshal(fields) // cannot fail
	e.json = string(text)
	return e
}

type request struct {
	platform string
	batch    bool
	key      string // empty: none
	events   []event
}

func (r *request) safeToRetry() bool {
	if r.key != "" {
		return true
	}
	for _, e := range r.events {
		if e.reference == "" {
			return false
		}
	}
	return true
}

func (r *request) path() string {
	if r.batch {
		return "/v1/ingest/charge-datas"
	}
	return "/v1/ingest/charge-data"
}

func (r *request) body() string {
	if !r.batch {
		return r.events[0].json
	}
	var b strings.Builder
	b.WriteString(`{"charge_datas":[`)
	for i, e := range r.events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(e.json)
	}
	b.WriteString(`]}`)
	return b.String()
}

package crashtest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// Platforms are the tenants that the traffic is for. The references on all of
// them are the same, so that a store that mixes them up is found out.
func Platforms() []string { return []string{"acme", "globex"} }

// place says which event of the traffic one is. What it holds is a function of
// that and the seed: whoever sends it sends the same.
type place struct {
	platform string
	line     string // whose events they are; events of the line loose have no reference
	number   int
	variant  int // events that differ in nothing else have the same reference and contradict each other
}

const loose = "loose"

// event is a charge event of the traffic.
type event struct {
	// marker stands in the description and tells the event from all others.
	marker    string
	reference string
	json      string
}

func (p place) event(seed uint64) event {
	e := event{marker: fmt.Sprintf("%s %s %d v%d", p.platform, p.line, p.number, p.variant)}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(e.marker))                 // never fails
	random := rand.New(rand.NewPCG(seed, hash.Sum64())) //nolint:gosec // events that can be made again, no secrets

	members := map[string]any{
		"product_item_id": "proi_1", "pricing_id": "pric_1", "pricing_item_id": "prii_1", "pricing_item_config_id": "pico_1",
		"description":        e.marker,
		"customer_reference": fmt.Sprintf("customer %d", random.IntN(50)),
		"value":              map[string]any{"number": fmt.Sprintf("%d.%02d", random.IntN(1e6), random.IntN(100))},
	}
	if p.line != loose {
		e.reference = fmt.Sprintf("%s-%d", p.line, p.number)
		members["reference"] = e.reference
	}
	if random.IntN(4) > 0 {
		members["timestamp"] = fmt.Sprintf("2026-%02d-%02dT%02d:00:00Z", 1+random.IntN(12), 1+random.IntN(28), random.IntN(24))
	}
	if random.IntN(10) == 0 { // larger than a page of a database
		entry := map[string]any{"field": "PRICING_PLAN_REFERENCE", "value": strings.Repeat("x", 200)}
		var data []any
		for range 1 + random.IntN(60) {
			data = append(data, entry)
		}
		members["pricing_plan_subscription_selector"] = map[string]any{"data": data}
	}
	text, _ := json.Marshal(members) // strings in maps
	e.json = string(text)
	return e
}

// request is one that a client sends, and sends again where that is called for.
type request struct {
	platform string
	batch    bool
	key      string // the idempotency key, or empty
	events   []event
}

// repeatable says that sending the request twice stores it once.
func (r *request) repeatable() bool {
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

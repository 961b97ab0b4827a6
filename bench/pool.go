package main

import (
	"bytes"
	"fmt"
	"net/url"
	"sync/atomic"
)

// Sizes of the pools. Bodies come round again with other references, so the
// pools are large enough that nothing between client and disk keeps them all
// at hand.
const (
	poolEvents  = 8192
	poolBatches = 32
)

// apiKey is the one that the servers of the measurements know.
const apiKey = "bench-key-0123456789abcdef"

// template is a request as it goes over the wire, but for its references.
type template struct {
	bytes      []byte
	references []int // where each one starts
}

// pool is requests to send, one after the other and from the start again. Safe
// for concurrent use.
type pool struct {
	templates []template
	turn      atomic.Uint64
}

func (p *pool) next() *template {
	return &p.templates[(p.turn.Add(1)-1)%uint64(len(p.templates))]
}

// newEventPool returns requests of one event each.
func newEventPool(seed uint64) *pool {
	g := newGenerator(seed)
	p := &pool{templates: make([]template, poolEvents)}
	for i := range p.templates {
		e := g.next()
		p.templates[i] = newTemplate("/v1/ingest/charge-data", e.body, []int{e.reference})
	}
	return p
}

// newBatchPool returns requests of so many events each.
func newBatchPool(seed uint64, size int) *pool {
	g := newGenerator(seed)
	p := &pool{templates: make([]template, poolBatches)}
	for i := range p.templates {
		body := []byte(`{"charge_datas":[`)
		references := make([]int, size)
		for j := range references {
			if j > 0 {
				body = append(body, ',')
			}
			e := g.next()
			references[j] = len(body) + e.reference
			body = append(body, e.body...)
		}
		p.templates[i] = newTemplate("/v1/ingest/charge-datas", append(body, "]}"...), references)
	}
	return p
}

// newListPool returns requests for the first page of a customer's events, one
// for each customer that is named in the first events of newBatchPool.
func newListPool(seed uint64, size int, events int64) *pool {
	g := newGenerator(seed)
	p := &pool{}
	seen := make(map[string]bool)
	for range min(events, int64(poolBatches*size)) {
		reference := g.next().customerReference
		if reference == "" || seen[reference] {
			continue
		}
		seen[reference] = true
		query := url.Values{"customer_reference": {reference}, "limit": {"50"}}
		head := fmt.Sprintf("GET /v1/ingest/charge-data?%s HTTP/1.1\r\nHost: bench\r\nX-API-KEY: %s\r\n\r\n", query.Encode(), apiKey)
		p.templates = append(p.templates, template{bytes: []byte(head)})
	}
	g.random.Shuffle(len(p.templates), func(i, j int) {
		p.templates[i], p.templates[j] = p.templates[j], p.templates[i]
	})
	return p
}

func newTemplate(path string, body []byte, references []int) template {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: bench\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, apiKey, len(body))
	for i := range references {
		references[i] += b.Len()
	}
	b.Write(body)
	return template{b.Bytes(), references}
}

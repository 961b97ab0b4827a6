package main

import (
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
)

// Bodies repeat with other references. They exceed the caches.
const (
	eventBodies = 8192
	batchBodies = 32
)

type request struct {
	bytes      []byte
	references []int // of each reference; none in lists
}

func (r *request) status() int {
	if len(r.references) == 0 {
		return http.StatusOK
	}
	return http.StatusCreated
}

type requests struct {
	all  []request
	sent atomic.Uint64
}

func (r *requests) next() *request {
	return &r.all[(r.sent.Add(1)-1)%uint64(len(r.all))]
}

func eventRequests(seed uint64) *requests {
	g := newGenerator(seed)
	r := new(requests)
	for range eventBodies {
		e := g.next()
		r.post("/v1/ingest/charge-data", e.body, []int{e.reference})
	}
	return r
}

func batchRequests(seed uint64, size int) *requests {
	g := newGenerator(seed)
	r := new(requests)
	for range batchBodies {
		body := []byte(`{"charge_datas":[`)
		references := make([]int, size)
		for i := range references {
			if i > 0 {
				body = append(body, ',')
			}
			e := g.next()
			references[i] = len(body) + e.reference
			body = append(body, e.body...)
		}
		r.post("/v1/ingest/charge-datas", append(body, "]}"...), references)
	}
	return r
}

func listRequests(seed uint64, events int64) *requests {
	g := newGenerator(seed)
	r := new(requests)
	seen := map[string]bool{"": true}
	for range min(events, batchBodies*batchEvents) {
		reference := g.next().customerReference
		if seen[reference] {
			continue
		}
		seen[reference] = true
		query := url.Values{"customer_reference": {reference}, "limit": {"50"}}
		r.all = append(r.all, request{bytes: fmt.Appendf(nil,
			"GET /v1/ingest/charge-data?%s HTTP/1.1\r\nHost: bench\r\nX-API-KEY: %s\r\n\r\n", query.Encode(), apiKey)})
	}
	g.random.Shuffle(len(r.all), func(i, j int) { r.all[i], r.all[j] = r.all[j], r.all[i] })
	return r
}

func (r *requests) post(path string, body []byte, references []int) {
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nX-API-KEY: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, apiKey, len(body))
	for i := range references {
		references[i] += len(head)
	}
	r.all = append(r.all, request{append(head, body...), references})
}

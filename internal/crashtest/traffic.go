package crashtest

import (
	"fmt"
	"math/rand/v2"
)

type traffic struct {
	seed          uint64
	index         int
	client        string
	random        *rand.Rand
	sentEvents    map[string]int // own events, by platform
	unreferenced  int
	keys          int
	steps         int
	keyedRequests []*request // a sample
}

func newTraffic(seed uint64, client int) *traffic {
	return &traffic{
		seed: seed, index: client, client: fmt.Sprintf("c%d", client),
		random:     rand.New(rand.NewPCG(seed, uint64(client))), //nolint:gosec // reproducible, not secret
		sentEvents: make(map[string]int),
	}
}

func (t *traffic) next() *request {
	t.steps++
	if len(t.keyedRequests) > 0 {
		switch earlier := t.keyedRequests[t.random.IntN(len(t.keyedRequests))]; t.random.IntN(30) {
		case 0:
			return earlier
		case 1: // same key, different content
			return &request{earlier.platform, earlier.batch, earlier.key, []event{t.newEvent(earlier.platform, 0)}}
		}
	}
	r := &request{platform: Platforms()[t.random.IntN(len(Platforms()))]}
	n := 1
	switch size := t.random.IntN(100); {
	case size < 1:
		n, r.batch = 200, true
	case size < 20:
		n, r.batch = 1+t.random.IntN(20), true
	}
	for range n {
		r.events = append(r.events, t.event(r.platform))
	}
	if repeated := r.events[t.random.IntN(n)]; r.batch && repeated.reference != "" && t.random.IntN(4) == 0 {
		r.events = append(r.events, repeated)
	}
	if t.random.IntN(4) == 0 {
		t.keys++
		r.key = fmt.Sprintf("%s-key-%d", t.client, t.keys)
		t.remember(r)
	}
	return r
}

func (t *traffic) remember(r *request) {
	const maxRequests = 50
	if len(t.keyedRequests) < maxRequests {
		t.keyedRequests = append(t.keyedRequests, r)
	} else {
		t.keyedRequests[t.random.IntN(maxRequests)] = r
	}
}

func (t *traffic) event(platform string) event {
	switch t.random.IntN(20) {
	case 0, 1: // an event that other clients send, too
		return eventKey{platform, "common", t.steps + t.random.IntN(5), 0}.event(t.seed)
	case 2: // an earlier event
		return eventKey{platform, t.client, t.random.IntN(1 + t.sentEvents[platform]), 0}.event(t.seed)
	case 3: // a conflicting event, rare because batches are large
		if t.random.IntN(8) == 0 {
			return eventKey{platform, t.client, t.random.IntN(1 + t.sentEvents[platform]), 1}.event(t.seed)
		}
	case 4:
		t.unreferenced++
		return eventKey{platform, unreferenced, t.unreferenced*1000 + t.index, 0}.event(t.seed)
	}
	return t.newEvent(platform, 0)
}

func (t *traffic) newEvent(platform string, variant int) event {
	t.sentEvents[platform]++
	return eventKey{platform, t.client, t.sentEvents[platform], variant}.event(t.seed)
}

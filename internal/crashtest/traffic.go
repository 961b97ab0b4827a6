package crashtest

import (
	"fmt"
	"math/rand/v2"
)

// traffic makes the requests of one client. Equal seeds make equal ones.
type traffic struct {
	seed   uint64
	index  int
	client string
	random *rand.Rand
	fresh  map[string]int // events of its own that a platform has had
	loose  int
	keys   int
	steps  int
	bound  []*request // some of those with an idempotency key
}

func newTraffic(seed uint64, client int) *traffic {
	return &traffic{
		seed: seed, index: client, client: fmt.Sprintf("c%d", client),
		random: rand.New(rand.NewPCG(seed, uint64(client))), //nolint:gosec // traffic that can be made again, no secrets
		fresh:  make(map[string]int),
	}
}

// next returns the next request.
func (t *traffic) next() *request {
	t.steps++
	if len(t.bound) > 0 {
		switch earlier := t.bound[t.random.IntN(len(t.bound))]; t.random.IntN(30) {
		case 0:
			return earlier
		case 1: // the same key, and something else
			return &request{earlier.platform, earlier.batch, earlier.key, []event{t.ofItsOwn(earlier.platform, 0)}}
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
	if again := r.events[t.random.IntN(n)]; r.batch && again.reference != "" && t.random.IntN(4) == 0 {
		r.events = append(r.events, again) // twice in a batch
	}
	if t.random.IntN(4) == 0 {
		t.keys++
		r.key = fmt.Sprintf("%s-key-%d", t.client, t.keys)
		t.remember(r)
	}
	return r
}

// remember keeps a request for later, and forgets another one when there are
// enough.
func (t *traffic) remember(r *request) {
	const enough = 50
	if len(t.bound) < enough {
		t.bound = append(t.bound, r)
	} else {
		t.bound[t.random.IntN(enough)] = r
	}
}

func (t *traffic) event(platform string) event {
	switch t.random.IntN(20) {
	case 0, 1: // what others send at about the same time
		return place{platform, "common", t.steps + t.random.IntN(5), 0}.event(t.seed)
	case 2: // a retry of something long ago
		return place{platform, t.client, t.random.IntN(1 + t.fresh[platform]), 0}.event(t.seed)
	case 3: // a contradiction of it; rare in batches, which have many events
		if t.random.IntN(8) == 0 {
			return place{platform, t.client, t.random.IntN(1 + t.fresh[platform]), 1}.event(t.seed)
		}
	case 4:
		t.loose++
		return place{platform, loose, t.loose*1000 + t.index, 0}.event(t.seed)
	}
	return t.ofItsOwn(platform, 0)
}

// ofItsOwn returns an event that nobody has sent yet.
func (t *traffic) ofItsOwn(platform string, variant int) event {
	t.fresh[platform]++
	return place{platform, t.client, t.fresh[platform], variant}.event(t.seed)
}

package inspector

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// BenchmarkPages measures what open pages cost.
func BenchmarkPages(b *testing.B) {
	i := newInspector(b)
	const n = 10_000
	for k := range n {
		i.requests.add(sampleRecord(func(r *record) {
			r.time = testTime.Add(time.Duration(k) * time.Millisecond)
			r.stats.Platform = "pf_a"
			r.body = []byte(testEvent)
			r.response = []byte(testEvent)
		}))
	}
	last := i.requests.list(scope{platform: "pf_a"}, 0, 0)[0].id
	for _, c := range []struct{ name, path string }{
		{"poll without new requests", fmt.Sprintf("api/requests?after=%d", last)},
		{"poll with 200 new requests", "api/requests"},
		{"search all by text", "api/requests?text=no+such+text"},
		{"search all by reference", "api/requests?reference=no-such-reference"},
		{"detail", fmt.Sprintf("api/requests/%d", last)},
		{"overview", "api/overview"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if w := (call{key: testKey}).do(i, c.path); w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

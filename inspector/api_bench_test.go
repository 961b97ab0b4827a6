package inspector

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

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
	last := i.requests.list(scope{platform: "pf_a"}, 0, 0, 0)[0].id
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

type pageWriter struct {
	header http.Header
	status int
	writes chan struct{}
}

func (w *pageWriter) Header() http.Header { return w.header }

func (w *pageWriter) WriteHeader(status int) { w.status = status }

func (w *pageWriter) Flush() {}

func (w *pageWriter) Write(p []byte) (int, error) {
	select {
	case w.writes <- struct{}{}:
	default:
	}
	return len(p), nil
}

func openPage(ctx context.Context, h http.Handler, delay time.Duration) {
	fetch := func(path string) *pageWriter {
		r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
		r.Header.Set("X-Api-Key", testKey)
		w := &pageWriter{header: make(http.Header), writes: make(chan struct{}, 1)}
		go func() {
			h.ServeHTTP(w, r)
			close(w.writes)
		}()
		return w
	}
	stream := fetch("/api/stream")
	for after := 0; ; after++ {
		if _, open := <-stream.writes; stream.status != http.StatusServiceUnavailable {
			if !open {
				return
			}
			<-stream.writes
		} else {
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return
			}
			delay = 10 * time.Second
		}
		for range fetch(fmt.Sprintf("/api/requests?after=%d", after)).writes {
		}
	}
}

func BenchmarkIngestWithPages(b *testing.B) {
	for _, pages := range []int{0, 1000} {
		b.Run(fmt.Sprintf("pages=%d", pages), func(b *testing.B) {
			i := newInspector(b, func(cfg *Config) { cfg.Now = time.Now })
			h, err := chargeingest.New(chargeingest.Config{
				Store: memstore.New(), Authorizer: newKeys(b), Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			recorded := i.Middleware(h)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for n := range pages {
				go openPage(ctx, i, time.Duration(n%1000)*10*time.Millisecond)
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					w := httptest.NewRecorder()
					recorded.ServeHTTP(w, post(eventPath, testEvent))
				}
			})
		})
	}
}

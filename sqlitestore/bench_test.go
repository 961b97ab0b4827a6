package sqlitestore

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func BenchmarkAppend(b *testing.B) {
	for _, bm := range []struct {
		name            string
		callers, events int
	}{
		{"a single event", 1, 1},
		{"64 callers with an event each", 64, 1},
		{"8 callers with 500 events each", 8, 500},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s, err := OpenWith(b.Context(), b.TempDir()+"/charges.db", Options{})
			require.NoError(b, err)
			defer func() { require.NoError(b, s.Close()) }()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for caller := range bm.callers {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(caller)))
					for sent := caller * bm.events; sent < b.N; sent += bm.callers * bm.events {
						if _, err := s.Append(b.Context(), randomBatch(random, min(bm.events, b.N-sent))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func randomBatch(random *rand.Rand, events int) chargeingest.Batch {
	b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch, Events: make([]chargeingest.NewEvent, events)}
	for i := range b.Events {
		e := charge(fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()))
		e.Content = `{"reference":"` + e.Reference + `","description":"` + strings.Repeat("x", 400) + `"}`
		setCustomer(&e, fmt.Sprintf("cust_%016d", random.IntN(5000)), "")
		b.Events[i] = e
	}
	return b
}

func BenchmarkList(b *testing.B) {
	s, err := OpenWith(b.Context(), b.TempDir()+"/charges.db", Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	random := rand.New(rand.NewPCG(1, 1))
	const events = 20_000
	for range events / 500 {
		_, err := s.Append(b.Context(), randomBatch(random, 500))
		require.NoError(b, err)
	}
	b.Run("pages", func(b *testing.B) {
		b.ReportAllocs()
		q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 400}
		for listed := 0; listed < b.N; {
			page, err := s.List(b.Context(), q)
			require.NoError(b, err)
			listed += len(page.Events)
			q.After = page.Next
		}
	})
	b.Run("scan", func(b *testing.B) {
		for scanned := 0; scanned < b.N; scanned += events {
			page, err := s.List(b.Context(), chargeingest.Query{Platform: "acme", ProductItemID: "another", Limit: 1})
			require.NoError(b, err)
			require.Empty(b, page.Events)
		}
	})
}

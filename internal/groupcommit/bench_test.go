package groupcommit

import (
	"fmt"
	"sync"
	"testing"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ callers, platforms int }{{1, 1}, {64, 1}, {64, 8}} {
		b.Run(fmt.Sprintf("callers=%d/platforms=%d", c.callers, c.platforms), func(b *testing.B) {
			q := New(10_000, nil, nil)
			written := make(chan struct{})
			go func() {
				defer close(written)
				for open := true; open; {
					<-q.Ready()
					var group []*Request
					group, open = q.Take(1000, nil)
					for _, r := range group {
						r.Finish(Result{})
					}
				}
			}()
			b.ReportAllocs()
			b.ResetTimer()
			var callers sync.WaitGroup
			for i := range c.callers {
				batch := chargeingest.Batch{
					Platform: fmt.Sprint("platform-", i%c.platforms), Events: make([]chargeingest.NewEvent, 1),
				}
				callers.Go(func() {
					for n := i; n < b.N; n += c.callers {
						if _, err := q.Append(b.Context(), storekit.Attempt{Batch: batch}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			callers.Wait()
			b.StopTimer()
			q.Close()
			<-written
		})
	}
}

func BenchmarkDisplace(b *testing.B) {
	for _, events := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			q := flooded(10_000, 2_000)
			r := waiting("other", events)
			for b.Loop() {
				if err := q.push(r); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				q.remove(r)
				for range events {
					if err := q.push(waiting("flood-1", 1)); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkRequeue(b *testing.B) {
	q := flooded(10_000, 1)
	for b.Loop() {
		group, _ := q.Take(1, nil)
		q.Requeue(group)
	}
}

func BenchmarkRemove(b *testing.B) {
	q := flooded(2, 10_000)
	last := q.platforms["flood-1"].requests.last()
	for b.Loop() {
		q.remove(last)
		if err := q.push(last); err != nil {
			b.Fatal(err)
		}
	}
}

// flooded returns a full queue: two requests per platform, and extra ones of flood-1.
func flooded(platforms, extra int) *Queue {
	q := New(2*platforms+extra, nil, nil)
	for i := range platforms {
		for range 2 {
			if err := q.push(waiting(fmt.Sprint("flood-", i), 1)); err != nil {
				panic(err)
			}
		}
	}
	for range extra {
		if err := q.push(waiting("flood-1", 1)); err != nil {
			panic(err)
		}
	}
	return q
}

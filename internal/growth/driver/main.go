// Command driver measures cases of package growth.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"example.com/chargeingest/internal/growth"
)

// steps is replaced in the build with counters.
var steps = func() uint64 { return 0 }

const (
	maxLive      = 1 << 30
	maxAllocated = 1 << 30
	maxSteps     = 300e6
)

func main() {
	debug.SetMemoryLimit(maxLive / 2)
	out := json.NewEncoder(os.Stdout)
	go watch(out)
	names := bufio.NewScanner(os.Stdin)
	for warm := false; names.Scan(); warm = true {
		c, ok := growth.Find(names.Text())
		if !ok {
			fail("unknown case: " + names.Text())
		}
		if !warm { // caches
			measure(c, c.Size)
		}
		for _, n := range []int{c.Size, growth.Factor * c.Size} {
			if err := out.Encode(measure(c, n)); err != nil {
				fail(err.Error())
			}
		}
	}
}

func measure(c growth.Case, n int) growth.Result {
	start.Store(new(usageNow()))
	run, err := c.Prepare(n)
	if err != nil {
		return growth.Result{Err: err.Error()}
	}
	sample, err := run.Measure(steps)
	if err != nil {
		return growth.Result{Sample: sample, Err: err.Error()}
	}
	return growth.Result{Sample: sample}
}

type usage struct{ live, allocated, steps uint64 }

var start atomic.Pointer[usage]

func usageNow() usage {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return usage{samples[0].Value.Uint64(), samples[1].Value.Uint64(), steps()}
}

func watch(out *json.Encoder) {
	for {
		time.Sleep(2 * time.Millisecond)
		now, atStart := usageNow(), start.Load()
		if atStart == nil {
			continue
		}
		allocated, steps := now.allocated-atStart.allocated, now.steps-atStart.steps
		if now.live > maxLive || allocated > maxAllocated || steps > maxSteps {
			text := fmt.Sprintf("limit exceeded: %d MB in use, %d MB allocated, %d million steps", now.live>>20, allocated>>20, steps/1e6)
			_ = out.Encode(growth.Result{Err: text})
			os.Exit(1)
		}
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "driver: "+text)
	os.Exit(2)
}

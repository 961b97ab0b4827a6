// Command driver measures cases of package growth. It reads the name of a case
// from each line and prints a line of JSON for each of the two sizes. The test
// of that package builds it with counters in the handler and its libraries.
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

// steps reads the counter. The build with counters sets it.
var steps = func() uint64 { return 0 }

// Bounds of a run. Linear cases stay below a tenth of them; an exponential one
// would take the machine down without them.
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
			fail("no such case: " + names.Text())
		}
		if !warm { // fill the caches of the process
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

// usage is the consumption of the process; live is the memory in use.
type usage struct{ live, allocated, steps uint64 }

// start is the usage at the start of a run.
var start atomic.Pointer[usage]

func usageNow() usage {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return usage{samples[0].Value.Uint64(), samples[1].Value.Uint64(), steps()}
}

// watch ends the process when a run exceeds the bounds.
func watch(out *json.Encoder) {
	for {
		time.Sleep(2 * time.Millisecond)
		now, then := usageNow(), start.Load()
		if then == nil {
			continue
		}
		allocated, steps := now.allocated-then.allocated, now.steps-then.steps
		if now.live > maxLive || allocated > maxAllocated || steps > maxSteps {
			text := fmt.Sprintf("given up with %d MB in use, %d MB allocated and %d million steps", now.live>>20, allocated>>20, steps/1e6)
			_ = out.Encode(growth.Result{Err: text})
			os.Exit(1)
		}
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "driver: "+text)
	os.Exit(2)
}

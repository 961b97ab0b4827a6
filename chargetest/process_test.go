package chargetest_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
)

// scenario names what the tests below do in a process of their own: a test that
// fails there must end neither the process nor the tests after it.
const scenario = "CHARGETEST_TEST_SCENARIO"

// refused sends a request that the contract refuses.
func refused(t testing.TB, srv *chargetest.Server) {
	t.Helper()
	client := srv.Client()
	defer client.CloseIdleConnections()
	res, err := client.Post("https://vendor.example/v1/ingest/charge-data", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
}

// handle sends a request without a client.
func handle(srv *chargetest.Server) {
	srv.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, eventPath, strings.NewReader("{}")))
}

// inFuzzTarget has fuzz functions that use a server of the *testing.F.
var inFuzzTarget = map[string]func(t *testing.T, srv *chargetest.Server){
	"": func(t *testing.T, srv *chargetest.Server) { refused(t, srv) },
	"refused, 200 times": func(t *testing.T, srv *chargetest.Server) {
		for range 200 {
			handle(srv)
		}
		srv.FailNext(0, chargetest.Reset())
	},
	"parallel": func(t *testing.T, srv *chargetest.Server) {
		t.Parallel()
		refused(t, srv)
		srv.FailNext(0, chargetest.Reset())
	},
	"a failure of the server": func(_ *testing.T, srv *chargetest.Server) { srv.FailNext(0, chargetest.Reset()) },
	"a failure of the test":   func(t *testing.T, srv *chargetest.Server) { srv.AssertCount(t, 1) },
	"a wait": func(t *testing.T, srv *chargetest.Server) {
		srv.WaitEvent(t)
		t.Error("after WaitEvent")
	},
	"a predicate": func(t *testing.T, srv *chargetest.Server) {
		srv.FailNext(1, chargetest.Reset(), chargetest.RequestWhere(func(chargetest.Request) bool { panic("predicate") }))
		refused(t, srv)
	},
	"its own server": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.New(t)
		refused(t, srv)
		srv.FailNext(0, chargetest.Reset())
	},
}

func FuzzServers(f *testing.F) {
	name := os.Getenv(scenario)
	srv := chargetest.NewWith(f, chargetest.Options{Wait: 1})
	refused(f, srv)
	if name == "before the target" {
		srv.FailNext(0, chargetest.Reset())
	}
	f.Add(0)
	f.Fuzz(func(t *testing.T, _ int) {
		if name == "New with the *testing.F" {
			chargetest.New(f)
		}
		srv.Reset()
		inFuzzTarget[name](t, srv)
	})
}

// run runs this test binary in a scenario.
func run(t *testing.T, name string, args ...string) (output string, passed bool) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir() // of the inputs that fail
	cmd.Env = append(os.Environ(), scenario+"="+name)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestFuzzTargets(t *testing.T) {
	const failure = "chargetest: FailNext(0, Reset()): n must be 1 or more"
	const location = "process_test.go:"
	for _, c := range []struct {
		name   string
		passes bool
		want   []string
		not    string
	}{
		{"", true, []string{"request 1: POST /v1/ingest/charge-data"}, ""},
		{"refused, 200 times", false, []string{"more\n", failure}, "request 150"},
		{"parallel", false, []string{location, failure}, ""},
		{"a failure of the server", false, []string{location, failure, "PASS: FuzzServers/seed#0"}, ""},
		{"a failure of the test", false, []string{location, "0 stored, want 1", "FAIL: FuzzServers/seed#0"}, ""},
		{"a wait", false, []string{"0 stored, waited for 1"}, "after WaitEvent"},
		{"a predicate", false, []string{"a predicate of FailNext(1, Reset()) for request by a predicate panicked at process_test.go"}, ""},
		{"its own server", false, []string{location, failure, "FAIL: FuzzServers/seed#0"}, ""},
		{"before the target", false, []string{location, failure}, "seed#0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, passed := run(t, c.name, "-test.run=^(FuzzServers|TestClientInABubble)$", "-test.v")
			require.Equal(t, c.passes, passed, out)
			for _, want := range c.want {
				require.Contains(t, out, want)
			}
			require.NotContains(t, out, "panic: ")
			require.NotContains(t, out, "panic.go")
			if c.not != "" {
				require.NotContains(t, out, c.not)
			}
		})
	}
	t.Run("New with the *testing.F", func(t *testing.T) {
		t.Parallel()
		out, passed := run(t, "New with the *testing.F", "-test.run=^FuzzServers$")
		require.False(t, passed)
		require.Contains(t, out, "a fuzz function must pass its own *testing.T")
	})
}

// While it fuzzes, a process shows only what fails an input.
func TestFuzzing(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"", ""},
		{"a failure of the server", "panic: process_test.go:"},
		{"a failure of the test", "0 stored, want 1"},
		{"a predicate", "terminated unexpectedly: exit status 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, passed := run(t, c.name, "-test.run=^$", "-test.fuzz=^FuzzServers$", "-test.fuzztime=20x",
				"-test.parallel=1", "-test.fuzzcachedir="+t.TempDir())
			require.Equal(t, c.want == "", passed, out)
			require.Contains(t, out, c.want)
		})
	}
}

// inBenchmark has benchmarks by name, and what their output must have if they fail.
var inBenchmark = map[string]struct {
	run  func(b *testing.B)
	want string
}{
	"N": {func(b *testing.B) {
		srv := chargetest.New(b)
		for range b.N {
			refused(b, srv)
		}
		srv.WaitRequests(b, b.N)
	}, ""},
	"a server of the benchmark around it": {func(b *testing.B) {
		srv := chargetest.New(b)
		b.Run("inner", func(b *testing.B) {
			for range b.N {
				srv.Reset()
				go handle(srv)
				require.Len(b, srv.WaitRequests(b, 1), 1) // in each round of the same *testing.B
			}
		})
	}, ""},
	"a wait": {func(b *testing.B) {
		srv := chargetest.NewWith(b, chargetest.Options{Wait: 1})
		for b.Loop() {
			srv.WaitEvent(b)
			b.Error("after WaitEvent")
		}
	}, "0 stored, waited for 1"},
	"parallel": {func(b *testing.B) {
		srv := chargetest.NewWith(b, chargetest.Options{Wait: 1})
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				srv.WaitEvent(b)
				srv.FailNext(0, chargetest.Reset())
			}
		})
	}, "n must be 1 or more"},
}

func BenchmarkServers(b *testing.B) {
	c, ok := inBenchmark[os.Getenv(scenario)]
	if !ok {
		b.Skipf("it runs in a process of TestBenchmarks")
	}
	c.run(b)
}

func TestBenchmarks(t *testing.T) {
	for name, c := range inBenchmark {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, passed := run(t, name, "-test.run=^$", "-test.bench=^BenchmarkServers$", "-test.benchtime=20x")
			require.Equal(t, c.want == "", passed, out)
			require.Contains(t, out, c.want)
			require.NotContains(t, out, "panic: ")
			require.NotContains(t, out, "after WaitEvent")
		})
	}
}

// inTestMain has what a test does with the server of TestMain, and what standard
// error must have.
var inTestMain = map[string]struct {
	run    func(t *testing.T)
	passes bool
	want   string
}{
	"a refusal":                      {func(t *testing.T) { refused(t, vendor) }, true, ""},
	"a refusal and a failure":        {func(t *testing.T) { refused(t, vendor); t.Fail() }, false, "chargetest: request 1: POST"},
	"a failure of the server":        {func(*testing.T) { vendor.FailNext(0, chargetest.Reset()) }, false, "process_test.go"},
	"a failure of the test":          {func(t *testing.T) { vendor.AssertCount(t, 1) }, false, "0 stored, want 1"},
	"a fault that no request met":    {func(t *testing.T) { vendor.FailNext(1, chargetest.Reset()); t.Fail() }, false, "was met 0 times"},
	"a call after the test is ended": {func(t *testing.T) { t.Cleanup(func() { vendor.AssertCount(t, 1) }) }, false, "0 stored, want 1"},
}

func TestMainScenario(t *testing.T) {
	if c, ok := inTestMain[os.Getenv(scenario)]; ok {
		c.run(t)
		return
	}
	for name, c := range inTestMain {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, passed := run(t, name, "-test.run=^TestMainScenario$")
			require.Equal(t, c.passes, passed, out)
			require.Contains(t, out, c.want)
			if c.passes {
				require.NotContains(t, out, "chargetest: ")
			}
		})
	}
}

func TestAServerNeedsATest(t *testing.T) {
	require.PanicsWithValue(t, "chargetest: a server needs a test: in TestMain, which has none, a *chargetest.Main", func() {
		chargetest.New(nil)
	})
}

// acrossBubbles has what must fail the test because the server is not in the bubble.
var acrossBubbles = map[string]func(t *testing.T, srv *chargetest.Server){
	"Client": func(t *testing.T, srv *chargetest.Server) {
		_, err := srv.Client().Get("https://vendor.example")
		require.ErrorContains(t, err, "bubble of testing/synctest")
	},
	"Handler": func(t *testing.T, srv *chargetest.Server) {
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, eventPath, nil))
		require.Equal(t, 500, w.Code)
		require.Contains(t, w.Body.String(), "bubble")
	},
	"URL":          func(t *testing.T, srv *chargetest.Server) { require.Empty(t, srv.URL()) },
	"Seed":         func(t *testing.T, srv *chargetest.Server) { srv.Seed(t, chargetest.Sample("a")) },
	"WaitEvent":    func(t *testing.T, srv *chargetest.Server) { srv.WaitEvent(t) },
	"WaitRequests": func(t *testing.T, srv *chargetest.Server) { srv.WaitRequests(t, 1) },
	"Reset":        func(_ *testing.T, srv *chargetest.Server) { srv.Reset() },
	"Restart":      func(_ *testing.T, srv *chargetest.Server) { srv.Restart() },
	"Close":        func(_ *testing.T, srv *chargetest.Server) { srv.Close() },
}

func TestBubbles(t *testing.T) {
	if os.Getenv(scenario) == "bubbles" {
		for name, do := range acrossBubbles {
			t.Run(name+" from a bubble", func(t *testing.T) {
				srv := chargetest.New(t)
				t.Run("bubble", func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { do(t, srv) })
				})
				srv.Seed(t, chargetest.Sample("a")) // it goes on outside
				refused(t, srv)
				srv.WaitRequests(t, 1)
			})
			t.Run(name+" of a bubble", func(t *testing.T) {
				called, done := make(chan *chargetest.Server), make(chan bool)
				go func() {
					do(t, <-called)
					close(done)
				}()
				synctest.Test(t, func(t *testing.T) {
					srv := chargetest.New(t)
					called <- srv
					<-done
					refused(t, srv)
				})
			})
		}
		return
	}
	out, _ := run(t, "bubbles", "-test.run=^TestBubbles$", "-test.v")
	for name := range acrossBubbles {
		require.Contains(t, out, "--- FAIL: TestBubbles/"+name+"_from_a_bubble")
		require.Contains(t, out, "--- FAIL: TestBubbles/"+name+"_of_a_bubble")
	}
	require.NotContains(t, out, "Error Trace", "an expectation of this test")
	for _, end := range []string{"panic: ", "fatal error: "} {
		require.NotContains(t, out, end)
	}
}

// Parallel subtests go on after the function of their test has returned, and
// goroutines after their test.
func TestSubtests(t *testing.T) {
	if os.Getenv(scenario) == "subtests" {
		srv := chargetest.New(t)
		for _, name := range []string{"a", "b", "c"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				refused(t, srv)
				srv.FailNext(0, chargetest.Reset())
				srv.AssertCount(t, 1)
			})
		}
		return
	}
	if os.Getenv(scenario) == "after" {
		srv := chargetest.New(t)
		var after sync.WaitGroup
		end := make(chan struct{})
		t.Run("ends", func(t *testing.T) {
			srv.WaitRequests(t, 0)
			after.Go(func() {
				<-end
				srv.AssertCount(t, 1)
				srv.WaitEvents(t, 0)
			})
		})
		close(end)
		after.Wait()
		return
	}
	out, passed := run(t, "subtests", "-test.run=^TestSubtests$", "-test.v")
	require.False(t, passed)
	require.Equal(t, 3, strings.Count(out, "0 stored, want 1"), out)
	require.Equal(t, 3, strings.Count(out, "n must be 1 or more"), out)
	require.NotContains(t, out, "panic: ")
	out, passed = run(t, "after", "-test.run=^TestSubtests$", "-test.v")
	require.False(t, passed)
	require.Contains(t, out, "0 stored, want 1")
	require.NotContains(t, out, "panic: ")
	require.NotContains(t, out, "DATA RACE")
}

// A server that another test has made ends with that.
func TestAServerOfATestThatHasEnded(t *testing.T) {
	var srv *chargetest.Server
	t.Run("ends", func(t *testing.T) { srv = chargetest.New(t) })
	told := new(recorder)
	require.False(t, srv.AssertCount(told, 0))
	require.Contains(t, told.failure(), "the server is closed")
	told.end()
}

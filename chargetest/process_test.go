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

const scenario = "CHARGETEST_TEST_SCENARIO"

func sendRejected(t testing.TB, srv *chargetest.Server) {
	t.Helper()
	client := srv.Client()
	defer client.CloseIdleConnections()
	res, err := client.Post("https://vendor.example/v1/ingest/charge-data", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
}

func handle(srv *chargetest.Server) {
	srv.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, eventPath, strings.NewReader("{}")))
}

var inFuzzTarget = map[string]func(t *testing.T, srv *chargetest.Server){
	"": func(t *testing.T, srv *chargetest.Server) { sendRejected(t, srv) },
	"200 rejections": func(t *testing.T, srv *chargetest.Server) {
		for range 200 {
			handle(srv)
		}
		srv.FailNext(0, chargetest.Reset())
	},
	"parallel": func(t *testing.T, srv *chargetest.Server) {
		t.Parallel()
		sendRejected(t, srv)
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
		sendRejected(t, srv)
	},
	"its own server": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.New(t)
		sendRejected(t, srv)
		srv.FailNext(0, chargetest.Reset())
	},
}

func FuzzServers(f *testing.F) {
	name := os.Getenv(scenario)
	srv := chargetest.NewWith(f, chargetest.Options{WaitTimeout: 1})
	sendRejected(f, srv)
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

func run(t *testing.T, name string, args ...string) (output string, passed bool) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
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
		{"200 rejections", false, []string{"more\n", failure}, "request 150"},
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
			out, passed := run(t, c.name, "-test.run=^(FuzzServers|TestClientInBubble)$", "-test.v")
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
		require.Contains(t, out, "the function passed to f.Fuzz must use its own *testing.T")
	})
}

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

var inBenchmark = map[string]struct {
	run  func(b *testing.B)
	want string
}{
	"N": {func(b *testing.B) {
		srv := chargetest.New(b)
		for range b.N {
			sendRejected(b, srv)
		}
		srv.WaitRequests(b, b.N)
	}, ""},
	"a server of the outer benchmark": {func(b *testing.B) {
		srv := chargetest.New(b)
		b.Run("inner", func(b *testing.B) {
			for range b.N {
				srv.Reset()
				go handle(srv)
				require.Len(b, srv.WaitRequests(b, 1), 1)
			}
		})
	}, ""},
	"a wait": {func(b *testing.B) {
		srv := chargetest.NewWith(b, chargetest.Options{WaitTimeout: 1})
		for b.Loop() {
			srv.WaitEvent(b)
			b.Error("after WaitEvent")
		}
	}, "0 stored, waited for 1"},
	"parallel": {func(b *testing.B) {
		srv := chargetest.NewWith(b, chargetest.Options{WaitTimeout: 1})
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
		b.Skipf("runs in a child process of TestBenchmarks")
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

var inTestMain = map[string]struct {
	run    func(t *testing.T)
	passes bool
	want   string
}{
	"a rejection":               {func(t *testing.T) { sendRejected(t, vendor) }, true, ""},
	"a rejection and a failure": {func(t *testing.T) { sendRejected(t, vendor); t.Fail() }, false, "chargetest: request 1: POST"},
	"a failure of the server":   {func(*testing.T) { vendor.FailNext(0, chargetest.Reset()) }, false, "process_test.go"},
	"a failure of the test":     {func(t *testing.T) { vendor.AssertCount(t, 1) }, false, "0 stored, want 1"},
	"an unused fault":           {func(t *testing.T) { vendor.FailNext(1, chargetest.Reset()); t.Fail() }, false, "was never used"},
	"a call in a cleanup":       {func(t *testing.T) { t.Cleanup(func() { vendor.AssertCount(t, 1) }) }, false, "0 stored, want 1"},
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

func TestNewWithoutTest(t *testing.T) {
	require.PanicsWithValue(t, "chargetest: New needs a test: pass a *chargetest.Main in TestMain", func() {
		chargetest.New(nil)
	})
}

var acrossBubbles = map[string]func(t *testing.T, srv *chargetest.Server){
	"Client": func(t *testing.T, srv *chargetest.Server) {
		_, err := srv.Client().Get("https://vendor.example")
		require.ErrorContains(t, err, "synctest bubble")
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
				srv.Seed(t, chargetest.Sample("a"))
				sendRejected(t, srv)
				srv.WaitRequests(t, 1)
			})
			t.Run(name+" of a bubble", func(t *testing.T) {
				called, done := make(chan *chargetest.Server), make(chan bool)
				go func() {
					defer close(done)
					do(t, <-called)
				}()
				synctest.Test(t, func(t *testing.T) {
					srv := chargetest.New(t)
					called <- srv
					<-done
					sendRejected(t, srv)
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
	require.NotContains(t, out, "Error Trace", "a failed expectation of the child process")
	for _, end := range []string{"panic: ", "fatal error: "} {
		require.NotContains(t, out, end)
	}
}

func TestSubtests(t *testing.T) {
	if os.Getenv(scenario) == "subtests" {
		srv := chargetest.New(t)
		for _, name := range []string{"a", "b", "c"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				sendRejected(t, srv)
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

func TestServerOfEndedTest(t *testing.T) {
	var srv *chargetest.Server
	t.Run("ends", func(t *testing.T) { srv = chargetest.New(t) })
	tb := new(fakeTB)
	require.False(t, srv.AssertCount(tb, 0))
	require.Contains(t, tb.failure(), "the server is closed")
	tb.end()
}

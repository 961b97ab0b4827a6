package chargetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/memstore"
)

// withFailures makes TestLocations run the tests that fail.
const withFailures = "CHARGETEST_TEST_WITH_FAILURES"

// next logs that the next line fails.
func next(testing.TB) {
	_, file, line, _ := runtime.Caller(1)
	fmt.Printf("next: %s:%d\n", filepath.Base(file), line+1)
}

// locations are the methods that can fail a test, each called on the line after
// next. The names are those of the methods, and what else there is to say.
var locations = map[string]func(*testing.T, *chargetest.Server){
	"AssertCount": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.AssertCount(t, 1)
	},
	"AssertCount on another goroutine": func(t *testing.T, srv *chargetest.Server) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			next(t)
			srv.AssertCount(t, 1)
		}()
		<-done
	},
	"AssertCount when the test ends": func(t *testing.T, srv *chargetest.Server) {
		t.Cleanup(func() {
			next(t)
			srv.AssertCount(t, 1)
		})
	},
	"AssertEvent that is not stored": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.AssertEvent(t, chargetest.Sample("a"))
	},
	"AssertEvent without a reference": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.AssertEvent(t, chargetest.Sample(""))
	},
	"AssertEvent with other content": func(t *testing.T, srv *chargetest.Server) {
		srv.Seed(t, chargetest.Sample("a"))
		other := chargetest.Sample("a")
		other.CustomerReference = nil
		next(t)
		srv.AssertEvent(t, other)
	},
	"AssertNoRejections": func(t *testing.T, srv *chargetest.Server) {
		r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
		srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
		next(t)
		srv.AssertNoRejections(t)
	},
	"WaitEvent": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.WaitEvent(t)
	},
	"WaitEvents": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.WaitEvents(t, 1, chargetest.Reference("a"))
	},
	"WaitRequests": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.WaitRequests(t, 1)
	},
	"WaitRequest": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.WaitRequest(t, 1)
	},
	"WaitRequest without a number": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.WaitRequest(t, 0)
	},
	"WaitRequests on another goroutine": func(t *testing.T, srv *chargetest.Server) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			next(t)
			srv.WaitRequests(t, 1)
		}()
		<-done
	},
	"Seed": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.Seed(t, chargeingest.ChargeEvent{})
	},
	"SeedOn": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.SeedOn(t, "", chargetest.Sample("a"))
	},
	"Advance": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.Advance(-1)
	},
	"FailNext": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.FailNext(0, chargetest.Reset())
	},
	"FailNext with a fault that is wrong": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.FailNext(1, chargetest.Status(200))
	},
	"FailNext whose predicate panics": func(t *testing.T, srv *chargetest.Server) {
		srv.FailNext(1, chargetest.Reset(), chargetest.RequestWhere(func(chargetest.Request) bool {
			next(t)
			panic("predicate")
		}))
		r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
		srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
	},
	"FailFor": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.FailFor(0, chargetest.Reset())
	},
	"FailSometimes": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.FailSometimes(2, 1, chargetest.Reset())
	},
	"Quota": func(t *testing.T, srv *chargetest.Server) {
		next(t)
		srv.Quota(-1, time.Second)
	},
	"Events": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		next(t)
		srv.Events()
	},
	"Event": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		next(t)
		srv.Event("a")
	},
	"AssertCount after Close": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		next(t)
		srv.AssertCount(t, 0)
		srv.AssertNoRejections(t)
	},
	"WaitEvents after Close": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		next(t)
		srv.WaitEvents(t, 1)
	},
	"Dump": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return unreadable{memstore.New()} }})
		srv.Seed(t, chargetest.Sample("a"))
		next(t)
		srv.Dump()
	},
	"AssertCount of a store that cannot be read": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return unreadable{memstore.New()} }})
		srv.Seed(t, chargetest.Sample("a"))
		next(t)
		srv.AssertCount(t, 1)
	},
	"Reset": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, wrongSecondTime())
		next(t)
		srv.Reset()
	},
	"Reset of a store that cannot be closed": func(t *testing.T, _ *chargetest.Server) {
		made := 0
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store {
			if made++; made == 1 {
				return unclosable{memstore.New()}
			}
			return memstore.New()
		}})
		next(t)
		srv.Reset()
	},
	"Restart": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, wrongSecondTime())
		next(t)
		srv.Restart()
	},
	"Close": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return unclosable{memstore.New()} }})
		next(t)
		srv.Close()
	},
	"URL": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			next(t)
			srv.URL()
		})
	},
	"WaitEvent in a bubble": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			next(t)
			srv.WaitEvent(t)
		})
	},
	"New, when the test ends": func(t *testing.T, _ *chargetest.Server) {
		o := chargetest.Options{NewStore: func() chargetest.Store { return unclosable{memstore.New()} }}
		next(t)
		chargetest.NewWith(t, o)
	},
	"New in a bubble with the test around it": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(*testing.T) {
			next(t)
			chargetest.New(t)
		})
	},
	"New with a configuration that is wrong": func(t *testing.T, _ *chargetest.Server) {
		o := chargetest.Options{Keys: make([]chargeingest.Key, 1)}
		next(t)
		chargetest.NewWith(t, o)
	},
}

// unreadable is a store that takes events and does not list them.
type unreadable struct{ *memstore.Store }

func (unreadable) List(context.Context, chargeingest.Query) (chargeingest.Page, error) {
	return chargeingest.Page{}, errors.New("unreadable")
}

// unclosable is a store that fails to close.
type unclosable struct{ chargetest.Store }

func (unclosable) Close() error { return errors.New("unclosable") }

// wrongSecondTime are options with which a server can be made once.
func wrongSecondTime() chargetest.Options {
	made := 0
	return chargetest.Options{Configure: func(cfg *chargeingest.Config) {
		if made++; made > 1 {
			cfg.MaxBodyBytes = -1
		}
	}}
}

// TestLocations runs tests that fail in a process of their own. Each failure must
// have the file and line of the call.
func TestLocations(t *testing.T) {
	options := chargetest.Options{Wait: time.Millisecond}
	if os.Getenv(withFailures) != "" {
		for name, call := range locations {
			t.Run(name, func(t *testing.T) { call(t, chargetest.NewWith(t, options)) })
		}
		// A server of another test's.
		srv := chargetest.NewWith(t, options)
		for name, call := range locations {
			if !strings.Contains(name, "Close") && !strings.HasPrefix(name, "Event") {
				t.Run(name+", of a subtest", func(t *testing.T) { call(t, srv) })
				srv.Reset()
			}
		}
		srv.Close()
		for name, call := range locations {
			if strings.Contains(name, "after Close") || strings.HasPrefix(name, "Event") {
				t.Run(name+", of a subtest", func(t *testing.T) { call(t, srv) })
			}
		}
		return
	}

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLocations$", "-test.v")
	cmd.Env = append(os.Environ(), withFailures+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	var want string
	failures := make(map[string]int) // by the line of the call
	line := regexp.MustCompile(`(?m)^\s*(?:next: (\S+)|(\S+\.go:\d+): chargetest: (.*))$`)
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		switch {
		case m[1] != "":
			want = m[1]
			failures[want] += 0
		case strings.HasPrefix(m[3], "request "), strings.Contains(m[3], " was met "): // not a failure
		default:
			require.Equal(t, want, m[2], m[3])
			failures[want]++
		}
	}
	require.Len(t, failures, len(locations), string(out))
	for line, n := range failures {
		require.Positive(t, n, line)
	}
	require.NotContains(t, string(out), "panic: ")
}

// TestEveryMethodHasItsLocationTested names the methods that cannot fail a test.
func TestEveryMethodHasItsLocationTested(t *testing.T) {
	harmless := []string{"APIKey", "Client", "Handler", "Now", "Requests"}
	typ := reflect.TypeFor[*chargetest.Server]()
	for i := range typ.NumMethod() {
		name := typ.Method(i).Name
		_, tested := locations[name]
		for location := range locations {
			tested = tested || strings.HasPrefix(location, name+" ")
		}
		require.NotEqual(t, tested, slices.Contains(harmless, name), name)
	}
}

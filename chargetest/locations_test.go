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

const withFailures = "CHARGETEST_TEST_WITH_FAILURES"

func nextLineFails(testing.TB) {
	_, file, line, _ := runtime.Caller(1)
	fmt.Printf("expect: %s:%d\n", filepath.Base(file), line+1)
}

var locations = map[string]func(*testing.T, *chargetest.Server){
	"AssertCount": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.AssertCount(t, 1)
	},
	"AssertCount on another goroutine": func(t *testing.T, srv *chargetest.Server) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			nextLineFails(t)
			srv.AssertCount(t, 1)
		}()
		<-done
	},
	"AssertCount when the test ends": func(t *testing.T, srv *chargetest.Server) {
		t.Cleanup(func() {
			nextLineFails(t)
			srv.AssertCount(t, 1)
		})
	},
	"AssertEvent of an event that is not stored": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.AssertEvent(t, chargetest.Sample("a"))
	},
	"AssertEvent without a reference": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.AssertEvent(t, chargetest.Sample(""))
	},
	"AssertEvent with different content": func(t *testing.T, srv *chargetest.Server) {
		srv.Seed(t, chargetest.Sample("a"))
		other := chargetest.Sample("a")
		other.CustomerReference = nil
		nextLineFails(t)
		srv.AssertEvent(t, other)
	},
	"AssertNoRejections": func(t *testing.T, srv *chargetest.Server) {
		r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
		srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
		nextLineFails(t)
		srv.AssertNoRejections(t)
	},
	"WaitEvent": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.WaitEvent(t)
	},
	"WaitEvents": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.WaitEvents(t, 1, chargetest.Reference("a"))
	},
	"WaitRequests": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.WaitRequests(t, 1)
	},
	"WaitRequest": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.WaitRequest(t, 1)
	},
	"WaitRequest without a number": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.WaitRequest(t, 0)
	},
	"WaitRequests on another goroutine": func(t *testing.T, srv *chargetest.Server) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			nextLineFails(t)
			srv.WaitRequests(t, 1)
		}()
		<-done
	},
	"Seed": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.Seed(t, chargeingest.ChargeEvent{})
	},
	"SeedOn": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.SeedOn(t, "", chargetest.Sample("a"))
	},
	"Advance": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.Advance(-1)
	},
	"FailNext": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.FailNext(0, chargetest.Reset())
	},
	"FailNext with an invalid fault": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.FailNext(1, chargetest.Status(200))
	},
	"FailNext with a panicking predicate": func(t *testing.T, srv *chargetest.Server) {
		srv.FailNext(1, chargetest.Reset(), chargetest.RequestWhere(func(chargetest.Request) bool {
			nextLineFails(t)
			panic("predicate")
		}))
		r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
		srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
	},
	"FailFor": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.FailFor(0, chargetest.Reset())
	},
	"FailSometimes": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.FailSometimes(2, 1, chargetest.Reset())
	},
	"Quota": func(t *testing.T, srv *chargetest.Server) {
		nextLineFails(t)
		srv.Quota(-1, time.Second)
	},
	"Events": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		nextLineFails(t)
		srv.Events()
	},
	"Event": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		nextLineFails(t)
		srv.Event("a")
	},
	"AssertCount after Close": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		nextLineFails(t)
		srv.AssertCount(t, 0)
		srv.AssertNoRejections(t)
	},
	"WaitEvents after Close": func(t *testing.T, srv *chargetest.Server) {
		srv.Close()
		nextLineFails(t)
		srv.WaitEvents(t, 1)
	},
	"Dump": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return unlistableStore{memstore.New()} }})
		srv.Seed(t, chargetest.Sample("a"))
		nextLineFails(t)
		srv.Dump()
	},
	"AssertCount with an unreadable store": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return unlistableStore{memstore.New()} }})
		srv.Seed(t, chargetest.Sample("a"))
		nextLineFails(t)
		srv.AssertCount(t, 1)
	},
	"Reset": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, invalidOnSecondUse())
		nextLineFails(t)
		srv.Reset()
	},
	"Reset with a store that fails to close": func(t *testing.T, _ *chargetest.Server) {
		made := 0
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store {
			if made++; made == 1 {
				return unclosableStore{memstore.New()}
			}
			return memstore.New()
		}})
		nextLineFails(t)
		srv.Reset()
	},
	"Restart": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, invalidOnSecondUse())
		nextLineFails(t)
		srv.Restart()
	},
	"Close": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return unclosableStore{memstore.New()} }})
		nextLineFails(t)
		srv.Close()
	},
	"URL": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			nextLineFails(t)
			srv.URL()
		})
	},
	"InspectorURL": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			nextLineFails(t)
			srv.InspectorURL()
		})
	},
	"Reset with KeepEvents": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{KeepEvents: true})
		nextLineFails(t)
		srv.Reset()
	},
	"New with invalid quirks": func(t *testing.T, _ *chargetest.Server) {
		o := chargetest.Options{Quirks: chargetest.Quirks{MaxBatchEvents: -1}}
		nextLineFails(t)
		chargetest.NewWith(t, o)
	},
	"WaitRequest of a dropped request": func(t *testing.T, _ *chargetest.Server) {
		srv := chargetest.NewWith(t, chargetest.Options{MaxRequests: 1})
		for range 2 {
			r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
			srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
		}
		nextLineFails(t)
		srv.WaitRequest(t, 1)
	},
	"WaitEvent in a bubble": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			nextLineFails(t)
			srv.WaitEvent(t)
		})
	},
	"New when the store fails to close": func(t *testing.T, _ *chargetest.Server) {
		o := chargetest.Options{NewStore: func() chargetest.Store { return unclosableStore{memstore.New()} }}
		nextLineFails(t)
		chargetest.NewWith(t, o)
	},
	"New in a bubble with the outer test": func(t *testing.T, _ *chargetest.Server) {
		synctest.Test(t, func(*testing.T) {
			nextLineFails(t)
			chargetest.New(t)
		})
	},
	"New with an invalid configuration": func(t *testing.T, _ *chargetest.Server) {
		o := chargetest.Options{Keys: make([]chargeingest.Key, 1)}
		nextLineFails(t)
		chargetest.NewWith(t, o)
	},
}

type unlistableStore struct{ *memstore.Store }

func (unlistableStore) List(context.Context, chargeingest.Query) (chargeingest.Page, error) {
	return chargeingest.Page{}, errors.New("unreadable")
}

type unclosableStore struct{ chargetest.Store }

func (unclosableStore) Close() error { return errors.New("unclosable") }

func invalidOnSecondUse() chargetest.Options {
	made := 0
	return chargetest.Options{Configure: func(cfg *chargeingest.Config) {
		if made++; made > 1 {
			cfg.MaxBodyBytes = -1
		}
	}}
}

func TestFailureLocations(t *testing.T) {
	options := chargetest.Options{WaitTimeout: time.Millisecond}
	if os.Getenv(withFailures) != "" {
		for name, call := range locations {
			t.Run(name, func(t *testing.T) { call(t, chargetest.NewWith(t, options)) })
		}
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

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailureLocations$", "-test.v")
	cmd.Env = append(os.Environ(), withFailures+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	var want string
	failures := make(map[string]int)
	line := regexp.MustCompile(`(?m)^\s*(?:expect: (\S+)|(\S+\.go:\d+): chargetest: (.*))$`)
	for _, m := range line.FindAllStringSubmatch(string(out), -1) {
		switch {
		case m[1] != "":
			want = m[1]
			failures[want] += 0
		case strings.HasPrefix(m[3], "request "), strings.Contains(m[3], " was never used"):
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

func TestEveryMethodHasLocationTest(t *testing.T) {
	cannotFail := []string{
		"AddToCatalogue", "APIKey", "Catalogue", "Client", "Control", "Handler", "Now", "Quirks", "Requests", "ServeOn", "SetCatalogue", "SetQuirks",
	}
	typ := reflect.TypeFor[*chargetest.Server]()
	for i := range typ.NumMethod() {
		name := typ.Method(i).Name
		_, tested := locations[name]
		for location := range locations {
			tested = tested || strings.HasPrefix(location, name+" ")
		}
		require.NotEqual(t, tested, slices.Contains(cannotFail, name), name)
	}
}

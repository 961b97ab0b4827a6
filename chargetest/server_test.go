package chargetest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/sqlitestore"
)

func TestURLClientAndHandler(t *testing.T) {
	srv := chargetest.New(t)
	requireStatus(t, 201)(overSocket(srv).charge(t, "socket"))
	requireStatus(t, 201)(inMemory(srv).charge(t, "memory"))

	mux := http.NewServeMux()
	mux.Handle("/vendor/", http.StripPrefix("/vendor", srv.Handler()))
	own := httptest.NewServer(mux)
	defer own.Close()
	requireStatus(t, 201)(client{own.Client(), own.URL + "/vendor", srv.APIKey()}.charge(t, "handler"))
	requireStatus(t, 200)(client{own.Client(), own.URL + "/vendor", srv.APIKey()}.do(t.Context(), http.MethodGet, eventPath, nil))

	srv.AssertCount(t, 3)
	first := srv.URL()
	require.Equal(t, first, srv.URL())
}

func TestSynctestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.FailNext(3, chargetest.Status(503).RetryAfter(time.Minute))
		sender := inMemory(srv)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				a, err := sender.charge(t, "order-42")
				if err != nil || a.StatusCode == http.StatusCreated {
					return
				}
				seconds, _ := strconv.Atoi(a.Header.Get("Retry-After"))
				time.Sleep(time.Duration(seconds) * time.Second)
			}
		}()
		start := time.Now()
		ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
		require.Equal(t, "order-42", *ev.Reference)
		require.Equal(t, 3*time.Minute, time.Since(start))
		<-done
	})
}

func TestEventsInStorageOrderAcrossPlatforms(t *testing.T) {
	srv := chargetest.New(t)
	var want []string
	for i := range 1500 {
		for _, ev := range srv.SeedOn(t, []string{"b", "a"}[i%2], chargetest.Sample(strconv.Itoa(i))) {
			want = append(want, ev.ID)
		}
	}
	var got []string
	for _, ev := range srv.Events() {
		got = append(got, ev.ID)
	}
	require.Equal(t, want, got)
}

func TestReproducibleIDsAndTimes(t *testing.T) {
	run := func() (string, []chargetest.Event) {
		srv := chargetest.New(t)
		requireStatus(t, 201)(inMemory(srv).charge(t, "a"))
		srv.Advance(90 * time.Second)
		requireStatus(t, 201)(inMemory(srv).charge(t, "b"))
		a := requireStatus(t, 404)(inMemory(srv).do(t.Context(), http.MethodGet, eventPath+"/none", nil))
		return a.Header.Get("X-Request-Id"), srv.Events()
	}
	id, events := run()
	require.Equal(t, "reqr_00000000000000000003", id)
	require.Equal(t, "2026-01-01T00:00:00Z", *events[0].Timestamp)
	require.Equal(t, "2026-01-01T00:01:30Z", *events[1].Timestamp)
	again, same := run()
	require.Equal(t, id, again)
	require.Equal(t, events, same)
}

func TestRestartCutsConnectionsAndKeepsEvents(t *testing.T) {
	for name, connect := range map[string]func(*chargetest.Server) client{"socket": overSocket, "memory": inMemory} {
		t.Run(name, func(t *testing.T) {
			srv := chargetest.New(t)
			first := requireStatus(t, 201)(connect(srv).charge(t, "a"))
			srv.FailNext(1, chargetest.Delay(time.Hour))
			waiting := make(chan error)
			go func() {
				_, err := connect(srv).charge(t, "b")
				waiting <- err
			}()
			srv.WaitRequests(t, 2)
			srv.Restart()
			require.Error(t, <-waiting)
			srv.AssertCount(t, 1)
			again := requireStatus(t, 201)(connect(srv).charge(t, "a"))
			require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
			require.Equal(t, first.text, again.text)
			require.Len(t, srv.Requests(), 3)
		})
	}
}

func TestResetRestoresInitialState(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	srv.FailNext(5, chargetest.Status(503), chargetest.Reference("b"))
	first := requireStatus(t, 201)(sender.charge(t, "a"))
	srv.Advance(time.Hour)
	srv.Reset()
	require.Empty(t, srv.Events())
	require.Empty(t, srv.Requests())
	require.Equal(t, first.text, requireStatus(t, 201)(sender.charge(t, "a")).text)
	requireStatus(t, 201)(sender.charge(t, "b"))
}

func TestOptionsNewStore(t *testing.T) {
	dir := t.TempDir()
	made := 0
	srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store {
		made++
		store, err := sqlitestore.Open(context.Background(), filepath.Join(dir, strconv.Itoa(made)+".db"))
		require.NoError(t, err)
		return store
	}})
	requireStatus(t, 201)(overSocket(srv).charge(t, "a"))
	srv.Restart()
	require.Equal(t, "true", requireStatus(t, 201)(overSocket(srv).charge(t, "a")).Header.Get("Idempotent-Replayed"))
	srv.AssertCount(t, 1)
	srv.Reset()
	srv.AssertCount(t, 0)
	require.Equal(t, 2, made)
}

func TestOptionsConfigure(t *testing.T) {
	observed := 0
	srv := chargetest.NewWith(t, chargetest.Options{
		StartTime: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		Configure: func(c *chargeingest.Config) {
			c.RequireReference = true
			c.Observer = func(context.Context, chargeingest.RequestStats) { observed++ }
		},
	})
	a := requireStatus(t, 400)(overSocket(srv).charge(t, ""))
	require.Contains(t, a.text, `"field":"reference"`)
	require.Equal(t, 1, observed)
	require.Equal(t, "2030-01-01T00:00:00Z", *srv.Seed(t, chargetest.Sample("a"))[0].Timestamp)
}

func TestInvalidOptionsFailTest(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.NewWith(tb, chargetest.Options{Configure: func(c *chargeingest.Config) { c.MaxBodyBytes = -1 }})
	require.Contains(t, tb.failure(), "MaxBodyBytes")
	requireStatus(t, 500)(overSocket(srv).charge(t, "a"))
	require.Nil(t, srv.Seed(t, chargetest.Sample("a")))
	tb.end()

	tb = new(fakeTB)
	chargetest.NewWith(tb, chargetest.Options{Keys: []chargeingest.Key{{Secret: "x"}}})
	require.Contains(t, tb.failure(), "Options.Keys")
	tb.end()
}

func TestNoGoroutinesAfterClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		tb := new(fakeTB)
		srv := chargetest.New(tb)
		srv.FailNext(2, chargetest.Delay(time.Hour))
		results := make(chan error, 2)
		for _, sender := range []client{overSocket(srv), inMemory(srv)} {
			go func() {
				_, err := sender.charge(t, "a")
				results <- err
			}()
		}
		srv.WaitRequests(t, 2)
		waiting := make(chan chargetest.Event)
		go func() { waiting <- srv.WaitEvent(tb, chargetest.Reference("never")) }()
		tb.end()
		require.Error(t, <-results)
		require.Error(t, <-results)
		require.Zero(t, <-waiting)
		require.Empty(t, tb.failure(), "an ended test must not fail")
		require.Nil(t, srv.Events())
		_, err := inMemory(srv).charge(t, "late")
		require.Error(t, err)
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, eventPath, nil))
		require.Equal(t, http.StatusInternalServerError, w.Code)
		srv.Close()
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 10*time.Second, time.Millisecond)
}

func TestConcurrentUse(t *testing.T) {
	srv := chargetest.New(t)
	var working sync.WaitGroup
	for i := range 16 {
		sender := overSocket(srv)
		working.Go(func() {
			reference := strconv.Itoa(i)
			srv.FailNext(1, chargetest.Status(503), chargetest.Reference(reference))
			srv.Advance(time.Second)
			_, _ = sender.charge(t, reference)
			_, _ = sender.charge(t, reference)
			srv.WaitEvent(t, chargetest.Reference(reference))
			srv.Events()
			_ = srv.Dump()
		})
	}
	working.Wait()
	srv.AssertCount(t, 16)
	require.Len(t, srv.Requests(), 32)
}

func TestJournalDecompressesGzip(t *testing.T) {
	srv := chargetest.New(t)
	text, err := chargetest.Sample("zipped").MarshalJSON()
	require.NoError(t, err)
	var body bytes.Buffer
	zipper := gzip.NewWriter(&body)
	_, err = zipper.Write(text)
	require.NoError(t, err)
	require.NoError(t, zipper.Close())
	requireStatus(t, 201)(overSocket(srv).do(t.Context(), http.MethodPost, eventPath, body.Bytes(), "Content-Encoding: gzip"))
	require.JSONEq(t, string(text), string(srv.Requests()[0].Body))
	require.Equal(t, "zipped", *srv.Requests()[0].Events[0].Reference)
}

func TestBodyLargerThanJournalLimit(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Configure: func(c *chargeingest.Config) { c.MaxBodyBytes = 32 << 20 }})
	text, err := chargetest.Sample("large").MarshalJSON()
	require.NoError(t, err)
	body := append(bytes.Repeat([]byte(" "), 17<<20), text...)
	requireStatus(t, 201)(overSocket(srv).do(t.Context(), http.MethodPost, eventPath, body))
	require.Len(t, srv.Requests()[0].Body, 16<<20)
}

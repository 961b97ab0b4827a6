package chargetest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/memstore"
)

func TestPanickingPredicateFailsOnlyTheTest(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.New(tb)
	defer tb.end()
	srv.FailNext(1, chargetest.Status(503), chargetest.EventWhere(func(e chargetest.Event) bool { return e.Value.Amount.Quantity == "1" }))
	ev := chargetest.Sample("a")
	ev.Value = nil
	requireStatus(t, 201)(overSocket(srv).send(t, ev))
	require.Contains(t, tb.failure(), "a predicate of FailNext(1, Status(503)) for event by a predicate panicked")
	requireStatus(t, 201)(overSocket(srv).charge(t, "b"))
}

func TestConcurrentResetRestartAndClose(t *testing.T) {
	for range 20 {
		tb := new(fakeTB)
		srv := chargetest.New(tb)
		sender := inMemory(srv)
		var all sync.WaitGroup
		for _, do := range []func(){
			srv.Reset, srv.Reset, srv.Restart, srv.Restart,
			func() { srv.Events() }, func() { _ = srv.Dump() },
			func() { _, _ = sender.charge(t, "a") }, func() { _, _ = sender.charge(t, "b") },
		} {
			all.Go(do)
		}
		all.Wait()
		requireStatus(t, 201)(inMemory(srv).charge(t, "c"))
		_, ok := srv.Event("c")
		require.True(t, ok)
		require.Empty(t, tb.failure())
		all.Go(srv.Reset)
		all.Go(srv.Close)
		all.Wait()
		tb.end()
	}
}

type closeRecorder struct {
	*memstore.Store
	closed bool
}

func (c *closeRecorder) Close() error {
	c.closed = true
	return errors.Join(c.Store.Close(), errors.New("custom"))
}

func TestReplacedStoresAreClosed(t *testing.T) {
	var made []*closeRecorder
	tb := new(fakeTB)
	srv := chargetest.NewWith(tb, chargetest.Options{NewStore: func() chargetest.Store {
		made = append(made, &closeRecorder{Store: memstore.New()})
		return made[len(made)-1]
	}})
	srv.Restart()
	require.False(t, made[0].closed)
	srv.Reset()
	require.True(t, made[0].closed)
	require.Contains(t, tb.failure(), "close the store: custom")
	require.False(t, made[1].closed)
	tb.end()
	require.True(t, made[1].closed)
	require.Equal(t, 2, strings.Count(tb.failure(), "custom"))
}

func TestClosedServer(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.New(tb)
	srv.Close()
	require.Zero(t, srv.WaitEvent(tb, chargetest.Reference("never")))
	require.False(t, srv.AssertCount(tb, 1))
	require.Contains(t, tb.failure(), "the server is closed")
	_ = srv.Dump()
	tb.end()
}

func TestNoReportToEndedTest(t *testing.T) {
	shared := chargetest.New(t)
	shared.Seed(t, chargetest.Sample("a"))
	waited := make(chan chargetest.Event, 1)
	t.Run("a subtest", func(t *testing.T) {
		started := make(chan struct{})
		start := sync.OnceFunc(func() { close(started) })
		never := chargetest.EventWhere(func(chargetest.Event) bool {
			start()
			return false
		})
		go func() { waited <- shared.WaitEvent(t, never) }()
		<-started
	})
	require.Zero(t, <-waited)
}

func TestSeedFailsCallingTest(t *testing.T) {
	server, subtest := new(fakeTB), &fatalTB{fakeTB: new(fakeTB)}
	srv := chargetest.New(server)
	defer server.end()
	require.Empty(t, srv.Seed(subtest, chargeingest.ChargeEvent{}))
	require.True(t, subtest.ended)
	require.Empty(t, server.failure())
}

func TestRejectionRecordedDespiteFault(t *testing.T) {
	for _, c := range []struct {
		fault  chargetest.Fault
		status int
	}{
		{chargetest.Status(503).AfterCommit(), 503},
		{chargetest.Reset().AfterCommit(), 0},
		{chargetest.Truncated(), 0},
		{chargetest.Malformed(), 400},
		{chargetest.SlowBody(time.Millisecond), 400},
		{chargetest.StoreError(errors.New("never asked")), 400},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			srv := chargetest.New(t)
			srv.FailNext(1, c.fault)
			ev := chargetest.Sample("a")
			ev.PricingID = ""
			_, _ = overSocket(srv).send(t, ev)
			r := srv.Requests()[0]
			require.True(t, r.Rejected())
			require.Equal(t, c.status, r.Status)
			require.Equal(t, chargeingest.CodeInvalidField, r.Code)
			require.Equal(t, "pricing_id", r.Field)
		})
	}
	t.Run("a conflict found by the store", func(t *testing.T) {
		srv := chargetest.New(t)
		srv.Seed(t, chargetest.Sample("a"))
		srv.FailNext(1, chargetest.StoreError(errors.New("lost")).AfterCommit())
		ev := chargetest.Sample("a")
		ev.PricingID = "other"
		requireStatus(t, 409)(overSocket(srv).send(t, ev))
		require.True(t, srv.Requests()[0].Rejected())
	})
}

func sendRaw(t *testing.T, address, request string) (response string, closes bool) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(reader, &http.Request{Method: method})
	require.NoError(t, err)
	defer res.Body.Close()
	var text bytes.Buffer
	res.Header.Del("Date")
	require.NoError(t, res.Write(&text))
	return text.String(), res.Close
}

func TestResponseEqualsHandlerResponse(t *testing.T) {
	const key = "X-API-KEY: chargetest-api-key\r\nX-Request-Id: mine\r\n"
	post := func(path, headers, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: h\r\n" + headers + body
	}
	sized := func(size int, body string) string {
		head, _ := json.Marshal(size)
		return "Content-Type: application/json\r\nContent-Length: " + string(head) + "\r\n\r\n" + body
	}
	event, err := chargetest.Sample("a").MarshalJSON()
	require.NoError(t, err)
	whole := sized(len(event), string(event))
	for name, request := range map[string]string{
		"an event":                         post(eventPath, key, whole),
		"a list":                           "GET " + eventPath + " HTTP/1.1\r\nHost: h\r\n" + key + "\r\n",
		"a HEAD":                           "HEAD " + eventPath + " HTTP/1.1\r\nHost: h\r\n" + key + "\r\n",
		"HTTP/1.0":                         "GET " + eventPath + " HTTP/1.0\r\n" + key + "\r\n",
		"no key":                           post(eventPath, "X-Request-Id: mine\r\n", whole),
		"no key and a large body":          post(eventPath, "X-Request-Id: mine\r\n", sized(5<<20, "")),
		"no key, Expect: 100-continue":     post(eventPath, "X-Request-Id: mine\r\nExpect: 100-continue\r\n", sized(len(event), "")),
		"too large and not sent":           post(eventPath, key, sized(5<<20, "")),
		"too large, Expect: 100-continue":  post(eventPath, key+"Expect: 100-continue\r\n", sized(5<<20, "")),
		"another media type, a large body": post(eventPath, key, "Content-Length: 300000\r\n\r\n"),
		"a chunked body":                   post(eventPath, key, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
		"an empty body":                    post(eventPath, key, sized(0, "")),
		"unknown path":                     post("/nowhere", key, whole),
		"another method":                   "DELETE " + eventPath + " HTTP/1.1\r\nHost: h\r\n" + key + "\r\n",
		"a broken body":                    post(eventPath, key, sized(1, "{")),
	} {
		t.Run(name, func(t *testing.T) {
			srv := chargetest.New(t)
			keys, err := chargeingest.NewKeys(chargeingest.Key{
				Secret: srv.APIKey(), Platforms: []string{chargeingest.DefaultPlatform},
				Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
			})
			require.NoError(t, err)
			h, err := chargeingest.New(chargeingest.Config{Store: memstore.New(), Authorizer: keys, Now: srv.Now, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			plain := httptest.NewServer(h)
			defer plain.Close()
			want, wantClose := sendRaw(t, plain.URL, request)
			got, gotClose := sendRaw(t, srv.URL(), request)
			require.Equal(t, withoutID(want), withoutID(got))
			require.Equal(t, wantClose, gotClose)
		})
	}
}

func withoutID(text string) string {
	before, rest, found := strings.Cut(text, `"id":"chda_`)
	if !found {
		return text
	}
	return before + rest[26:]
}

func TestJournalHasUploadInFlight(t *testing.T) {
	srv := chargetest.New(t)
	body, writer := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL()+eventPath, body)
	require.NoError(t, err)
	r.Header.Set("X-API-KEY", srv.APIKey())
	r.Header.Set("Content-Type", "application/json")
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			err = res.Body.Close()
		}
		done <- err
	}()
	_, err = io.WriteString(writer, `{"reference":`)
	require.NoError(t, err)
	require.Contains(t, srv.WaitRequests(t, 1)[0].String(), "in flight")
	require.NoError(t, writer.CloseWithError(errors.New("gone")))
	require.Error(t, <-done)
}

func TestIncompleteBodyUnderFault(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailNext(1, chargetest.SlowBody(time.Millisecond))
	event, err := chargetest.Sample("a").MarshalJSON()
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, eventPath, io.MultiReader(bytes.NewReader(event), brokenReader{}))
	r.Header.Set("X-API-KEY", srv.APIKey())
	r.Header.Set("Content-Type", "application/json")
	srv.Handler().ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code)
	srv.AssertCount(t, 0)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRequestIDUnderFault(t *testing.T) {
	srv := chargetest.New(t)
	for _, id := range []string{"with space", strings.Repeat("x", 129), ""} {
		srv.FailNext(1, chargetest.Status(503))
		srv.FailNext(1, chargetest.Status(503).AfterCommit())
		for range 2 {
			a := requireStatus(t, 503)(overSocket(srv).charge(t, "a", "X-Request-Id: "+id))
			require.Regexp(t, `^reqr_\d{20}$`, a.Header.Get("X-Request-Id"))
		}
	}
	require.Equal(t, "reqr_00000000000000000007", requireStatus(t, 201)(overSocket(srv).charge(t, "b")).Header.Get("X-Request-Id"))
	srv.Reset()
	require.Equal(t, "reqr_00000000000000000001", requireStatus(t, 201)(overSocket(srv).charge(t, "b")).Header.Get("X-Request-Id"))
}

func TestStatusHeaders(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	srv.FailNext(3, chargetest.Status(405))
	require.Equal(t, "POST, GET, HEAD", requireStatus(t, 405)(sender.charge(t, "a")).Header.Get("Allow"))
	require.Equal(t, "POST", requireStatus(t, 405)(sender.do(t.Context(), http.MethodPost, eventPath+"s", nil)).Header.Get("Allow"))
	require.Equal(t, "GET, HEAD", requireStatus(t, 405)(sender.do(t.Context(), http.MethodGet, eventPath+"/x", nil)).Header.Get("Allow"))
	srv.FailNext(1, chargetest.Status(415))
	require.Equal(t, "application/json", requireStatus(t, 415)(sender.charge(t, "a")).Header.Get("Accept-Post"))
	srv.FailNext(1, chargetest.Status(400).Code(chargeingest.CodeInvalidField).Field("value.number").Message("a < b"))
	a := requireStatus(t, 400)(sender.charge(t, "a"))
	want := `{"type":"INVALID_REQUEST","code":"INVALID_FIELD","message":"a < b","field":"value.number",` +
		`"errors":[{"code":"INVALID_FIELD","field":"value.number","message":"a < b"}]}` + "\n"
	require.Equal(t, want, a.text)

	srv.FailNext(1, chargetest.Status(503))
	w := httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodHead, eventPath, nil))
	require.Empty(t, w.Body.String())
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestRestartEndsDelayedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{Configure: func(c *chargeingest.Config) { c.MaxBodyBytes = 64 << 20 }})
		srv.FailNext(1, chargetest.Delay(time.Hour))
		srv.FailNext(1, chargetest.Status(418))
		srv.Advance(time.Minute)
		done := make(chan error, 1)
		go func() {
			// The body is too large for net/http to notice that the client is gone.
			_, err := inMemory(srv).do(t.Context(), http.MethodPost, eventPath, bytes.Repeat([]byte(" "), 20<<20))
			done <- err
		}()
		srv.WaitRequests(t, 1)
		synctest.Wait()
		start := time.Now()
		srv.Restart()
		require.Zero(t, time.Since(start))
		require.Error(t, <-done)
		require.Contains(t, srv.Requests()[0].String(), "no response")
		require.Equal(t, srv.Requests()[0].ReceivedAt, srv.Now(), "the clock stays")
		requireStatus(t, 418)(inMemory(srv).charge(t, "a"))
	})
}

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

func TestAPredicateThatPanicsFailsTheTestAndNothingElse(t *testing.T) {
	told := new(recorder)
	srv := chargetest.New(told)
	defer told.end()
	srv.FailNext(1, chargetest.Status(503), chargetest.EventWhere(func(e chargetest.Event) bool { return e.Value.Amount.Quantity == "1" }))
	ev := chargetest.Sample("a")
	ev.Value = nil
	requireStatus(t, 201)(overSocket(srv).send(t, ev))
	require.Contains(t, told.failure(), "a predicate of FailNext(1, Status(503)) for event by a predicate panicked")
	requireStatus(t, 201)(overSocket(srv).charge(t, "b"))
}

func TestResetRestartAndCloseGoTogetherWithTraffic(t *testing.T) {
	for range 20 {
		told := new(recorder)
		srv := chargetest.New(told)
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
		require.Empty(t, told.failure())
		all.Go(srv.Reset)
		all.Go(srv.Close)
		all.Wait()
		told.end()
	}
}

// closable is a store that says whether it is closed.
type closable struct {
	*memstore.Store
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return errors.Join(c.Store.Close(), errors.New("as told"))
}

func TestStoresAreClosedWhenTheyAreNotNeededAnyMore(t *testing.T) {
	var made []*closable
	told := new(recorder)
	srv := chargetest.NewWith(told, chargetest.Options{NewStore: func() chargetest.Store {
		made = append(made, &closable{Store: memstore.New()})
		return made[len(made)-1]
	}})
	srv.Restart()
	require.False(t, made[0].closed)
	srv.Reset()
	require.True(t, made[0].closed)
	require.Contains(t, told.failure(), "close the store: as told")
	require.False(t, made[1].closed)
	told.end()
	require.True(t, made[1].closed)
	require.Equal(t, 2, strings.Count(told.failure(), "as told"))
}

func TestAServerThatIsClosedSaysSo(t *testing.T) {
	told := new(recorder)
	srv := chargetest.New(told)
	srv.Close()
	require.Zero(t, srv.WaitEvent(told, chargetest.Reference("never")))
	require.False(t, srv.AssertCount(told, 1))
	require.Contains(t, told.failure(), "the server is closed")
	_ = srv.Dump()
	told.end()
}

// The test of a wait may be another one than the server's, and end before it.
func TestATestThatHasEndedIsToldNothing(t *testing.T) {
	shared := chargetest.New(t)
	shared.Seed(t, chargetest.Sample("a"))
	waited := make(chan chargetest.Event, 1)
	t.Run("a subtest", func(t *testing.T) {
		looking := make(chan struct{})
		look := sync.OnceFunc(func() { close(looking) })
		never := chargetest.EventWhere(func(chargetest.Event) bool {
			look()
			return false
		})
		go func() { waited <- shared.WaitEvent(t, never) }()
		<-looking
	})
	require.Zero(t, <-waited)
}

func TestSeedFailsTheTestThatSeeds(t *testing.T) {
	server, subtest := new(recorder), &ending{recorder: new(recorder)}
	srv := chargetest.New(server)
	defer server.end()
	require.Empty(t, srv.Seed(subtest, chargeingest.ChargeEvent{}))
	require.True(t, subtest.ended)
	require.Empty(t, server.failure())
}

func TestARejectionIsSeenThroughAFault(t *testing.T) {
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
	t.Run("a conflict that the store found by itself", func(t *testing.T) {
		srv := chargetest.New(t)
		srv.Seed(t, chargetest.Sample("a"))
		srv.FailNext(1, chargetest.StoreError(errors.New("lost")).AfterCommit())
		ev := chargetest.Sample("a")
		ev.PricingID = "other"
		requireStatus(t, 409)(overSocket(srv).send(t, ev))
		require.True(t, srv.Requests()[0].Rejected())
	})
}

// raw sends bytes and returns all that comes back until the other end closes, or
// an answer is whole.
func raw(t *testing.T, address, request string) (answer string, closes bool) {
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

// Without faults on order, what comes back is what the handler alone gives, byte
// by byte, the end of the connection included.
func TestItAnswersAsTheHandlerDoes(t *testing.T) {
	const key = "X-API-KEY: chargetest-api-key\r\nX-Request-Id: mine\r\n"
	post := func(path, headers, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: h\r\n" + headers + body
	}
	sized := func(size int, body string) string {
		head, _ := json.Marshal(size) // as digits
		return "Content-Type: application/json\r\nContent-Length: " + string(head) + "\r\n\r\n" + body
	}
	event, err := chargetest.Sample("a").MarshalJSON()
	require.NoError(t, err)
	whole := sized(len(event), string(event))
	for name, request := range map[string]string{
		"an event":                         post(eventPath, key, whole),
		"a listing":                        "GET " + eventPath + " HTTP/1.1\r\nHost: h\r\n" + key + "\r\n",
		"a HEAD":                           "HEAD " + eventPath + " HTTP/1.1\r\nHost: h\r\n" + key + "\r\n",
		"HTTP/1.0":                         "GET " + eventPath + " HTTP/1.0\r\n" + key + "\r\n",
		"no key":                           post(eventPath, "X-Request-Id: mine\r\n", whole),
		"no key and a large body":          post(eventPath, "X-Request-Id: mine\r\n", sized(5<<20, "")),
		"no key and an expectation":        post(eventPath, "X-Request-Id: mine\r\nExpect: 100-continue\r\n", sized(len(event), "")),
		"too large, and not sent":          post(eventPath, key, sized(5<<20, "")),
		"too large, and expecting":         post(eventPath, key+"Expect: 100-continue\r\n", sized(5<<20, "")),
		"another media type, a large body": post(eventPath, key, "Content-Length: 300000\r\n\r\n"),
		"a body of chunks":                 post(eventPath, key, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
		"an empty body":                    post(eventPath, key, sized(0, "")),
		"nowhere":                          post("/nowhere", key, whole),
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
			want, wantClose := raw(t, plain.URL, request)
			got, gotClose := raw(t, srv.URL(), request)
			require.Equal(t, withoutID(want), withoutID(got))
			require.Equal(t, wantClose, gotClose)
		})
	}
}

// withoutID is an answer without the id of the event, which is random in one.
func withoutID(answer string) string {
	before, rest, found := strings.Cut(answer, `"id":"chda_`)
	if !found {
		return answer
	}
	return before + rest[26:]
}

func TestAnUploadUnderWayIsInTheJournal(t *testing.T) {
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

func TestABodyThatBreaksOffStoresNothingUnderAFaultEither(t *testing.T) {
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

func TestARequestIDUnderAFaultIsTheOneThatTheHandlerGives(t *testing.T) {
	srv := chargetest.New(t)
	for _, id := range []string{"with space", strings.Repeat("x", 129), ""} {
		srv.FailNext(1, chargetest.Status(503))
		srv.FailNext(1, chargetest.Status(503).AfterCommit())
		for range 2 {
			a := requireStatus(t, 503)(overSocket(srv).charge(t, "a", "X-Request-Id: "+id))
			require.Regexp(t, `^reqr_\d{20}$`, a.Header.Get("X-Request-Id"))
		}
	}
	// An id for each of the six, and none made in vain.
	require.Equal(t, "reqr_00000000000000000007", requireStatus(t, 201)(overSocket(srv).charge(t, "b")).Header.Get("X-Request-Id"))
	srv.Reset()
	require.Equal(t, "reqr_00000000000000000001", requireStatus(t, 201)(overSocket(srv).charge(t, "b")).Header.Get("X-Request-Id"))
}

func TestAStatusHasTheHeadersOfTheContract(t *testing.T) {
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
	asTheHandlerWouldHaveIt := `{"type":"INVALID_REQUEST","code":"INVALID_FIELD","message":"a < b","field":"value.number",` +
		`"errors":[{"code":"INVALID_FIELD","field":"value.number","message":"a < b"}]}` + "\n"
	require.Equal(t, asTheHandlerWouldHaveIt, a.text)

	srv.FailNext(1, chargetest.Status(503))
	w := httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodHead, eventPath, nil))
	require.Empty(t, w.Body.String())
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestARestartEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{Configure: func(c *chargeingest.Config) { c.MaxBodyBytes = 64 << 20 }})
		srv.FailNext(1, chargetest.Delay(time.Hour))
		srv.FailNext(1, chargetest.Status(418))
		srv.Advance(time.Minute)
		done := make(chan error, 1)
		go func() {
			// More than is read before the wait: nobody notices that its client goes.
			_, err := inMemory(srv).do(t.Context(), http.MethodPost, eventPath, bytes.Repeat([]byte(" "), 20<<20))
			done <- err
		}()
		srv.WaitRequests(t, 1)
		synctest.Wait()
		start := time.Now()
		srv.Restart()
		require.Zero(t, time.Since(start))
		require.Error(t, <-done)
		require.Contains(t, srv.Requests()[0].String(), "no answer")
		require.Equal(t, srv.Requests()[0].At, srv.Now(), "the clock stays")
		requireStatus(t, 418)(inMemory(srv).charge(t, "a"))
	})
}

package chargetest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/memstore"
)

func inspectorOf(t *testing.T, srv *chargetest.Server) client {
	t.Helper()
	link, err := url.Parse(srv.InspectorURL())
	require.NoError(t, err)
	require.Equal(t, "key="+srv.APIKey(), link.Fragment)
	return client{overSocket(srv).http, "http://" + link.Host + link.Path, srv.APIKey()}
}

func TestInspector(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{APIKey: "k+%&="})
	before := requireStatus(t, 404)(inMemory(srv).do(t.Context(), http.MethodGet, "/inspector/", nil))
	require.Equal(t, "RESOURCE_NOT_FOUND", decodeError(t, before).Code)
	srv.FailNext(1, chargetest.Reset().AfterCommit())
	_, err := inMemory(srv).charge(t, "lost")
	require.Error(t, err)
	require.NoError(t, srv.SetQuirks(chargetest.Quirks{MinReferenceLength: 10}))
	r := httptest.NewRequest(http.MethodPost, eventPath, strings.NewReader(`{"pricing_id":"a"}`))
	srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
	requireStatus(t, 400)(overSocket(srv).charge(t, "short"))

	page := inspectorOf(t, srv)
	require.Contains(t, requireStatus(t, 200)(page.do(t.Context(), http.MethodGet, "", nil)).Header.Get("Content-Type"), "text/html")
	var list struct {
		Requests []struct {
			Status     int
			Code, Note string
		}
	}
	res := requireStatus(t, 200)(page.do(t.Context(), http.MethodGet, "api/requests", nil))
	require.NoError(t, json.Unmarshal([]byte(res.text), &list))
	require.Len(t, list.Requests, 4, res.text)
	require.Equal(t, []int{400, 401, 0, 404}, []int{list.Requests[0].Status, list.Requests[1].Status, list.Requests[2].Status, list.Requests[3].Status})
	require.Equal(t, "by the quirk MinReferenceLength", list.Requests[0].Note)
	require.Equal(t, "INVALID_FIELD", list.Requests[0].Code)
	require.Equal(t, "fault FailNext(1, Reset().AfterCommit())", list.Requests[2].Note)
	requireStatus(t, 200)(page.do(t.Context(), http.MethodGet, "sandbox/state", nil))
	require.Contains(t, requireStatus(t, 200)(page.do(t.Context(), http.MethodGet, "api/events", nil)).text, `"lost"`)
	require.Len(t, srv.Requests(), 4)
	requireStatus(t, 401)(client{page.http, page.base, "wrong"}.do(t.Context(), http.MethodGet, "api/requests", nil))
}

func TestInspectorStreamsEnd(t *testing.T) {
	srv := chargetest.New(t)
	page := inspectorOf(t, srv)
	open := func() *bufio.Reader {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page.base+"api/stream", nil)
		require.NoError(t, err)
		req.Header.Set("X-API-KEY", page.key)
		res, err := page.http.Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		lines := bufio.NewReader(res.Body)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, `"newest"`)
		return lines
	}
	for _, end := range []func(){
		srv.Restart,
		func() { requireStatus(t, 204)(page.do(t.Context(), http.MethodPost, "sandbox/restart", []byte("{}"))) },
		srv.Close,
	} {
		stream := open()
		end()
		_, err := stream.ReadString('\n')
		require.Error(t, err)
	}
}

func TestServeOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := chargetest.New(t)
	mux := http.NewServeMux()
	mux.Handle("/", srv.Handler())
	mux.HandleFunc("/own", func(w http.ResponseWriter, _ *http.Request) {
		srv.Restart()
		w.WriteHeader(http.StatusNoContent)
	})
	require.NoError(t, srv.ServeOn(l, mux))
	require.Equal(t, "http://"+l.Addr().String(), srv.URL())
	c := overSocket(srv)
	requireStatus(t, 201)(c.charge(t, "a"))
	srv.FailNext(1, chargetest.Reset())
	_, err = c.charge(t, "b")
	require.ErrorContains(t, err, "connection reset by peer")
	_, err = c.do(t.Context(), http.MethodGet, "/own", nil)
	require.Error(t, err, "Restart cuts its own connection")
	srv.AssertCount(t, 1)
	srv.Close()
	_, err = c.charge(t, "c")
	require.Error(t, err)
	require.Error(t, srv.ServeOn(l, mux))
}

type blockingStore struct {
	chargetest.Store
	entered, release chan struct{}
}

func (s blockingStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	close(s.entered)
	<-s.release
	return s.Store.Append(ctx, b)
}

func TestRestartWaitsForRequests(t *testing.T) {
	store := blockingStore{memstore.New(), make(chan struct{}), make(chan struct{})}
	srv := chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return store }})
	c := overSocket(srv)
	go func() {
		_, _ = c.charge(t, "a") // until Restart cuts the connection
		close(store.release)
	}()
	<-store.entered
	srv.Restart()
	require.Equal(t, 1, srv.Requests()[0].Stored)
}

func TestKeepEvents(t *testing.T) {
	store := memstore.New()
	chargetest.NewWith(t, chargetest.Options{NewStore: func() chargetest.Store { return store }}).Seed(t, chargetest.Sample("old"))
	tb := new(fakeTB)
	srv := chargetest.NewWith(tb, chargetest.Options{
		NewStore: func() chargetest.Store { return store }, KeepEvents: true,
		Keys: []chargeingest.Key{{Secret: "s", Subject: "ada", Permissions: []chargeingest.Permission{chargeingest.PermissionIngest}, Platforms: []string{"acme"}}},
	})
	srv.AssertCount(t, 1, chargetest.Reference("old"))
	requireStatus(t, 201)(inMemory(srv).charge(t, "new"))
	srv.Reset()
	require.Equal(t, "chargetest: Reset: the store keeps its events (Options.KeepEvents)", tb.failure())
	srv.AssertCount(t, 2)
	require.Len(t, srv.Requests(), 1)
	tb.end()
}

func TestMaxRequests(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.NewWith(tb, chargetest.Options{MaxRequests: 2})
	c := inMemory(srv)
	srv.AssertNoRejections(t)
	requireStatus(t, 401)(client{c.http, c.base, "wrong"}.charge(t, "a"))
	for _, reference := range []string{"b", "c", "d"} {
		requireStatus(t, 201)(c.charge(t, reference))
	}
	requests := srv.WaitRequests(t, 4)
	require.Equal(t, []int{3, 4}, []int{requests[0].Number, requests[1].Number})
	require.Equal(t, "d", *srv.WaitRequest(t, 4).Events[0].Reference)
	require.Contains(t, srv.Dump(), "requests: 4\n  … 2 dropped\n  request 3: ")
	srv.AssertCount(t, 3)
	require.False(t, srv.AssertNoRejections(tb))
	require.Equal(t, "chargetest: rejected requests: 1\n  … 1 dropped", tb.failure())
	srv.Reset()
	require.Equal(t, 1, func() int { requireStatus(t, 201)(c.charge(t, "e")); return srv.WaitRequest(t, 1).Number }())
	srv.AssertNoRejections(t)
	tb.end()
}

func TestMaxRequestsWithConcurrentRequests(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{MaxRequests: 3})
	c := inMemory(srv)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { _, _ = client{c.http, c.base, "wrong"}.charge(t, "a") })
	}
	all.Wait()
	tb := new(fakeTB)
	require.False(t, srv.AssertNoRejections(tb))
	require.Contains(t, tb.failure(), "rejected requests: 40\n  … 37 dropped\n")
	require.Len(t, srv.Requests(), 3)
}

func TestMaxRequestsBoundsBytes(t *testing.T) {
	const requests = 15
	srv := chargetest.NewWith(t, chargetest.Options{MaxRequests: 100})
	c := inMemory(srv)
	for range requests {
		requireStatus(t, 400)(c.do(t.Context(), http.MethodPost, eventPath, bytes.Repeat([]byte(" "), 3<<20)))
	}
	kept := srv.WaitRequests(t, requests)
	require.Less(t, len(kept), 12)
	require.Equal(t, requests, kept[len(kept)-1].Number)
}

func TestRecordedEventsAreBounded(t *testing.T) {
	srv := chargetest.New(t)
	c := inMemory(srv)
	body := []byte(`{"charge_datas":[` + strings.Repeat("{},", 40_000) + `{}]}`)
	requireStatus(t, 401)(client{c.http, c.base, "wrong"}.do(t.Context(), http.MethodPost, eventPath+"s", body))
	require.Len(t, srv.WaitRequest(t, 1).Events, 10_000)
}

func TestInspectorForeignHost(t *testing.T) {
	srv := chargetest.New(t)
	page := inspectorOf(t, srv)
	for host, status := range map[string]int{"evil.example": 421, "evil.example:80": 421, "LocalHost:1": 200, "[::1]:1": 200, "127.0.0.1": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page.base, nil)
		require.NoError(t, err)
		req.Host = host
		res, err := page.http.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, status, res.StatusCode, host)
	}
}

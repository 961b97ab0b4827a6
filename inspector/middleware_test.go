package inspector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

const (
	testKey   = "key-for-tests-0123456789"
	eventPath = "/v1/ingest/charge-data"
	testEvent = `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"order-42"}`
)

var testTime = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func newKeys(tb testing.TB) *chargeingest.Keys {
	tb.Helper()
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: testKey, Subject: "ada", Platforms: []string{"pf_a", "pf_b"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	require.NoError(tb, err)
	return keys
}

func newInspector(tb testing.TB, set ...func(*Config)) *Inspector {
	tb.Helper()
	cfg := Config{Reader: memstore.New(), Authorizer: newKeys(tb), Now: func() time.Time { return testTime }}
	for _, s := range set {
		s(&cfg)
	}
	i, err := New(cfg)
	require.NoError(tb, err)
	return i
}

func newHandler(tb testing.TB) *chargeingest.Handler {
	tb.Helper()
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: newKeys(tb), Now: func() time.Time { return testTime },
	})
	require.NoError(tb, err)
	return h
}

func post(path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-Api-Key", testKey)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func (i *Inspector) only(t *testing.T) *record {
	t.Helper()
	list := i.requests.list(scope{platform: "pf_a", unidentified: true}, 0, 0, 0)
	require.Len(t, list, 1)
	return i.requests.get(scope{platform: list[0].stats.Platform}, list[0].id)
}

func TestRecord(t *testing.T) {
	i := newInspector(t)
	w := httptest.NewRecorder()
	i.Middleware(newHandler(t)).ServeHTTP(w, post(eventPath+"?x=1", testEvent, "X-Request-Id: mine", "User-Agent: test"))
	r := i.only(t)
	require.Equal(t, http.StatusCreated, w.Code)
	require.Equal(t, testTime.UnixMicro(), r.id)
	require.Equal(t, "POST http example.com "+eventPath+"?x=•••", r.method+" "+r.scheme+" "+r.host+" "+r.uri)
	require.Equal(t, [][2]string{
		{"Content-Type", "application/json"}, {"User-Agent", "test"}, {"X-Api-Key", "•••"}, {"X-Request-Id", "mine"},
	}, r.header.sorted())
	require.True(t, bytes.Equal([]byte(testEvent), r.body))
	require.Equal(t, http.StatusCreated, r.status)
	require.Equal(t, w.Body.String(), string(r.response))
	require.Contains(t, r.responseHeader.sorted(), [2]string{"X-Request-Id", "mine"})
	require.Equal(t, "pf_a", r.stats.Platform)
	require.Equal(t, "ada", r.stats.Subject)
}

func TestRecordedStatus(t *testing.T) {
	const text = "some text"
	for _, c := range []struct {
		name         string
		serve        http.HandlerFunc
		panics       bool
		status       int
		body, header string // of the response
	}{
		{"never writes", func(http.ResponseWriter, *http.Request) {}, false, 200, "", ""},
		{"only a body", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }, false, 200, text, ""},
		{"only a flush", func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			w.WriteHeader(http.StatusBadGateway)
		}, false, 200, "", ""},
		{"the first of two statuses", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Test", "before")
			w.WriteHeader(http.StatusNotFound)
			w.Header().Set("X-Test", "after")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(text))
		}, false, 404, text, "before"},
		{"an informational status first", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("X-Test", "last")
			w.WriteHeader(http.StatusConflict)
		}, false, 409, "", "last"},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, 0, "", ""},
		{"a panic after a buffered response", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Test", "lost")
			_, _ = io.WriteString(w, text)
			panic(http.ErrAbortHandler)
		}, true, 0, "", ""},
		{"a panic after a flush", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, text)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, true, 200, text, ""},
		{"a panic after a large response", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
			panic(http.ErrAbortHandler)
		}, true, 200, strings.Repeat("x", 10_000), ""},
		{"a hijacked connection", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		}, false, 0, "", ""},
		{"half of a response, then hijacked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		}, false, 200, text, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, ended := newInspector(t), make(chan any, 1)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- recover() }()
				i.Middleware(c.serve).ServeHTTP(w, r)
			}))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a second status
			srv.Start()
			defer srv.Close()
			res, err := http.Get(srv.URL)
			if err == nil {
				require.NoError(t, res.Body.Close())
			}
			if recovered := <-ended; c.panics {
				require.Equal(t, http.ErrAbortHandler, recovered)
			} else {
				require.Nil(t, recovered)
			}
			got := i.only(t)
			require.Equal(t, c.status, got.status)
			require.Equal(t, c.body, string(got.response))
			require.Equal(t, c.header, got.responseHeader.value("X-Test"))
		})
	}
}

func TestHeadResponse(t *testing.T) {
	i := newInspector(t)
	r := httptest.NewRequest(http.MethodHead, "/", nil)
	i.Middleware(respondWith(200, "not sent")).ServeHTTP(httptest.NewRecorder(), r)
	require.Empty(t, i.only(t).response)
}

type readCounter struct {
	*strings.Reader
	asked int
}

func (r *readCounter) Read(p []byte) (int, error) {
	r.asked += len(p)
	return r.Reader.Read(p)
}

func (r *readCounter) Close() error { return nil }

func TestRecordedBody(t *testing.T) {
	readN := func(n int64) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadFull(r.Body, make([]byte, n)) }
	}
	readAll := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })
	long := strings.Repeat("long ", 1000)
	for _, c := range []struct {
		name      string
		sent      string
		length    int64
		serve     http.Handler
		want      string
		truncated bool
	}{
		{"all of a declared length", "body", 4, readN(4), "body", false},
		{"all of an unknown length", "body", -1, readAll, "body", false},
		{"a part of a declared length", "body", 4, readN(2), "bo", true},
		{"a part of an unknown length", "body", -1, readN(4), "body", true},
		{"nothing", "body", 4, readN(0), "", true},
		{"more than MaxBodyBytes", long, -1, readAll, long[:1000], true},
		{"a declared length of 0", "", 0, readN(0), "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newInspector(t, func(c *Config) { c.MaxBodyBytes = 1000 })
			body := &readCounter{Reader: strings.NewReader(c.sent)}
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Body, r.ContentLength = body, c.length
			var asked int
			i.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.serve.ServeHTTP(w, r)
				asked = body.asked
			})).ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, asked, body.asked, "the middleware reads nothing itself")
			require.Equal(t, c.want, string(i.only(t).body))
			require.Equal(t, c.truncated, i.only(t).bodyTruncated)
			require.Zero(t, i.held.Load())
		})
	}
	for name, body := range map[string]io.ReadCloser{"nil": nil, "NoBody": http.NoBody} {
		t.Run(name, func(t *testing.T) {
			i := newInspector(t)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Body = body
			i.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Body != body {
					t.Error(r.Body)
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
			require.False(t, i.only(t).bodyTruncated)
		})
	}
	t.Run("the response", func(t *testing.T) {
		i := newInspector(t, func(c *Config) { c.MaxBodyBytes = 1000 })
		w := httptest.NewRecorder()
		i.Middleware(respondWith(200, long)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, long, w.Body.String())
		require.Equal(t, long[:1000], string(i.only(t).response))
		require.True(t, i.only(t).responseTruncated)
	})
}

func TestBodiesInProgressAreBounded(t *testing.T) {
	i := newInspector(t, func(c *Config) { c.MaxBytes = 1 << 20 })
	body := strings.Repeat("x", 300<<10)
	var nest func(depth int) http.Handler
	nest = func(depth int) http.Handler {
		return i.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if held := i.held.Load(); held > 1<<20 {
				t.Error(held)
			}
			if depth > 0 {
				nest(depth-1).ServeHTTP(httptest.NewRecorder(), post("/", body))
			}
		}))
	}
	nest(10).ServeHTTP(httptest.NewRecorder(), post("/", body))
	require.Zero(t, i.held.Load())
	i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), post("/", body))
	list := i.requests.list(scope{}, 0, 0, 0)
	require.Len(t, list[0].body, 256<<10, "memory is released")
}

type plainWriter struct{ http.ResponseWriter }

func (w plainWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestRecordedWriter(t *testing.T) {
	i := newInspector(t)
	serve := func(wrap func(http.ResponseWriter) http.ResponseWriter, h http.HandlerFunc) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i.Middleware(h).ServeHTTP(wrap(w), r)
		}))
		defer srv.Close()
		res, err := http.Get(srv.URL)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	same := func(w http.ResponseWriter) http.ResponseWriter { return w }
	serve(same, func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		assert := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		assert(c.SetReadDeadline(time.Now().Add(time.Minute)))
		assert(c.SetWriteDeadline(time.Now().Add(time.Minute)))
		assert(c.EnableFullDuplex())
		assert(c.Flush())
		if _, ok := w.(io.StringWriter); !ok {
			t.Error("not an io.StringWriter")
		}
	})
	serve(func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} }, func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(http.Flusher); ok {
			t.Error("the endpoint would flush a writer that may buffer on purpose")
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
}

func TestNote(t *testing.T) {
	i := newInspector(t)
	var ctx context.Context
	i.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx = context.WithoutCancel(r.Context())
		Note(ctx, "one")
		Note(ctx, "two")
	})).ServeHTTP(httptest.NewRecorder(), post("/", ""))
	Note(ctx, "late")
	Note(t.Context(), "without a record")
	require.Equal(t, "one; two", i.only(t).note)
}

func TestLateHandler(t *testing.T) {
	i := newInspector(t)
	var late sync.WaitGroup
	release := make(chan struct{})
	w := httptest.NewRecorder()
	i.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		late.Go(func() {
			<-release
			Note(r.Context(), "late")
			newHandler(t).ServeHTTP(httptest.NewRecorder(), r)
			_, _ = w.Write([]byte("late"))
		})
	})).ServeHTTP(w, post(eventPath, testEvent))
	first := i.only(t)
	close(release)
	late.Wait()
	require.Equal(t, first, i.only(t))
	require.Empty(t, first.note+first.stats.Platform+string(first.body)+string(first.response))
}

func TestClockPanic(t *testing.T) {
	i := newInspector(t, func(c *Config) { c.Now = func() time.Time { panic("no clock") } })
	w := httptest.NewRecorder()
	i.Middleware(newHandler(t)).ServeHTTP(w, post(eventPath, testEvent))
	require.Equal(t, http.StatusCreated, w.Code)
	require.Equal(t, http.StatusCreated, i.only(t).status)
}

func TestRecordMemory(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(record{}), uintptr(recordBytes))
	i := newInspector(t)
	r := post(eventPath, testEvent)
	for n := range 20 {
		r.Header.Add("X-Many", strings.Repeat("v", n))
	}
	i.Middleware(newHandler(t)).ServeHTTP(httptest.NewRecorder(), r)
	got := i.only(t)
	texts := len(got.method+got.host+got.uri+got.client+got.note) + len(got.body) + len(got.response)
	texts += len(got.header) + len(got.responseHeader)
	require.GreaterOrEqual(t, got.size, int64(texts)+int64(unsafe.Sizeof(*got)))
	require.Less(t, got.size, int64(texts)+recordBytes+2048)
}

func TestLargeHeaders(t *testing.T) {
	i := newInspector(t)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for n := range 5000 {
		r.Header.Set(fmt.Sprintf("X-%d", n), strings.Repeat("v", 100))
	}
	r.Header.Set("A", strings.Repeat("v", 1<<20))
	i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), r)
	got := i.only(t)
	require.Less(t, got.size, int64(128<<10))
	require.LessOrEqual(t, len(got.header.sorted()), maxFields+1)

	i = newInspector(t)
	i.Middleware(respondWith(200, "")).ServeHTTP(httptest.NewRecorder(), post("/", "", "A: "+strings.Repeat("v", 1<<20)))
	require.Equal(t, [2]string{"A", strings.Repeat("v", 8<<10) + "…"}, i.only(t).header.sorted()[0])
}

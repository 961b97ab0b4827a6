package routers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

type tracingStore struct {
	*memstore.Store
	seen chan trace.SpanContext
}

const (
	failsUnstored = "fails-unstored"
	failsUnknown  = "fails-unknown"
)

func (s *tracingStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	s.seen <- trace.SpanContextFromContext(ctx)
	switch {
	case b.Events[0].Reference == failsUnstored:
		return chargeingest.AppendResult{}, chargeingest.ErrNotStored
	case strings.Contains(b.Events[0].Content, failsUnknown):
		return chargeingest.AppendResult{}, errors.New("the outcome is unknown")
	}
	return s.Store.Append(ctx, b)
}

var wrappedRequests = []struct {
	name, method, path, body string
	status                   int
	reachesStore             bool
}{
	{"a new event", http.MethodPost, eventPath, event("wrapped", "1"), http.StatusCreated, true},
	{"a conflict", http.MethodPost, eventPath, event("wrapped", "2"), http.StatusConflict, true},
	{"a bad event", http.MethodPost, eventPath, event("wrapped", "one"), http.StatusBadRequest, false},
	{"a large body", http.MethodPost, eventPath, strings.Repeat(" ", maxBody+1), http.StatusRequestEntityTooLarge, false},
	{"a list", http.MethodGet, eventPath + "?limit=1", "", http.StatusOK, false},
	{"a HEAD", http.MethodHead, eventPath, "", http.StatusOK, false},
	{"another path", http.MethodGet, prefix + "/nothing", "", http.StatusNotFound, false},
	{"another method", http.MethodDelete, eventPath, "", http.StatusMethodNotAllowed, false},
	{"a store that failed", http.MethodPost, eventPath, event(failsUnstored, "1"), http.StatusServiceUnavailable, true},
	{
		"an unknown outcome", http.MethodPost, eventPath, strings.Replace(event("", "1"), "proi_1", failsUnknown, 1),
		http.StatusInternalServerError, true,
	},
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                     string
		router                   func(endpoints, func(string)) http.Handler
		routeAround, routeWithin string
	}{
		{"ServeMux", serveMuxHost, "/billing/", "/billing/"},
		{"chi", chiHost, "", "/billing/*"},
		{"gorilla mux", gorillaHost, "", ""},
		{"gin", ginHost, "", ""},
		{"echo", echoHost, "/billing/*", "/billing/*"},
	} {
		t.Run(c.name+", around the router", func(t *testing.T) {
			t.Parallel()
			w := newInstrumentedServer(t)
			w.start(t, w.wrap(c.router(w.endpoints, ignoreLabel)))
			w.requireInstrumented(t, c.routeAround, prefix)
		})
		t.Run(c.name+", around the handler", func(t *testing.T) {
			t.Parallel()
			w := newInstrumentedServer(t)
			w.endpoints.all = w.wrap(w.endpoints.all)
			w.start(t, c.router(w.endpoints, ignoreLabel))
			w.requireInstrumented(t, c.routeWithin, "")
		})
	}
}

func TestWrappedInsideChi(t *testing.T) {
	t.Parallel()
	w := newInstrumentedServer(t)
	r := chi.NewRouter()
	r.Use(login, w.wrap)
	r.Mount(prefix, http.StripPrefix(prefix, w.endpoints.all))
	w.start(t, r)
	w.requireInstrumented(t, "/billing/*", prefix)
}

type instrumentedServer struct {
	*instruments
	server
	endpoints endpoints
	stored    chan trace.SpanContext // of Append
	observed  chan trace.SpanContext // of the Observer
	done      chan struct{}
}

func newInstrumentedServer(t *testing.T) *instrumentedServer {
	t.Helper()
	w := &instrumentedServer{
		instruments: newInstruments(), stored: make(chan trace.SpanContext, 1),
		observed: make(chan trace.SpanContext, 1), done: make(chan struct{}, 1),
	}
	w.endpoints = endpointsOf(newHandler(t, func(c *chargeingest.Config) {
		c.Store = &tracingStore{memstore.New(), w.stored}
		c.Observer = func(ctx context.Context, _ chargeingest.RequestStats) {
			w.observed <- trace.SpanContextFromContext(ctx)
		}
	}))
	return w
}

func (w *instrumentedServer) start(t *testing.T, router http.Handler) {
	t.Helper()
	w.server = serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		method, target, headers := r.Method, *r.URL, r.Header.Clone()
		router.ServeHTTP(rw, r)
		if r.Method != method || *r.URL != target || fmt.Sprint(r.Header) != fmt.Sprint(headers) || r.Form != nil {
			t.Errorf("the request was changed: %s %s %v", r.Method, r.URL, r.Header)
		}
		w.done <- struct{}{}
	}))
}

func (w *instrumentedServer) requireInstrumented(t *testing.T, route, seenPrefix string) {
	t.Helper()
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	wantSamples, wantDurations, wantSent := make(map[string]sample), make(map[measured]int), 0
	for _, r := range wrappedRequests {
		got := w.do(t, r.method, r.path, r.body, "Traceparent: 00-"+parent+"-00f067aa0ba902b7-01", "User-Agent: tests")
		<-w.done
		require.Equal(t, r.status, got.status, got.text)

		span := w.takeSpan(t)
		require.Equal(t, strings.TrimSpace(r.method+" "+route), span.Name, r.name)
		if seenPrefix == "" {
			// otelhttp learns the route after it has set the attributes.
			require.Equal(t, route, valueOf(span.Attributes, "http.route").AsString(), r.name)
		}
		require.EqualValues(t, r.status, valueOf(span.Attributes, "http.response.status_code").AsInt64(), r.name)
		path, _, _ := strings.Cut(r.path, "?")
		require.Equal(t, seenPrefix+strings.TrimPrefix(path, prefix), valueOf(span.Attributes, "url.path").AsString(), r.name)
		if r.status >= http.StatusInternalServerError {
			require.Equal(t, codes.Error, span.Status.Code, r.name)
		} else {
			require.Equal(t, codes.Unset, span.Status.Code, r.name)
		}
		require.Equal(t, parent, span.Parent.TraceID().String())
		require.True(t, span.SpanContext.Equal(<-w.observed), "the observer is outside the span: %s", r.name)
		if r.reachesStore {
			require.True(t, span.SpanContext.Equal(<-w.stored), "the store is outside the span: %s", r.name)
		}

		require.Regexp(t, fmt.Sprintf(`^127\.0\.0\.1 - - \[[^]]+\] "%s %s HTTP/1\.1" %d %d "" "tests"\n$`,
			r.method, regexp.QuoteMeta(r.path), r.status, len(got.text)), w.takeLog(t))

		key := fmt.Sprintf("%d %s", r.status, strings.ToLower(r.method))
		s := wantSamples[key]
		wantSamples[key] = sample{s.requests + 1, s.durations + 1, s.received + 1, s.sent + 1}
		wantSent += len(got.text)
		wantDurations[measured{route, r.method, r.status}]++
	}
	samples, sent := w.samples(t)
	require.Equal(t, wantSamples, samples)
	require.Equal(t, wantSent, sent)
	require.Equal(t, wantDurations, w.durations(t))
}

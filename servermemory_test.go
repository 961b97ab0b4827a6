package chargeingest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var globalServer http.Server

func TestServersAreNotKept(t *testing.T) {
	f := newFixture(t)
	serve := func(srv *http.Server) {
		r := request(http.MethodGet, eventPath, nil)
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, srv)))
		require.Equal(t, http.StatusOK, w.Code)
	}
	const n = 100
	collected := make(chan struct{}, n)
	for range n {
		srv := new(http.Server)
		runtime.AddCleanup(srv, func(struct{}) { collected <- struct{}{} }, struct{}{})
		serve(srv)
	}
	serve(&globalServer)
	runtime.GC()
	for range n {
		select {
		case <-collected:
		case <-time.After(10 * time.Second):
			require.Fail(t, "a server is kept")
		}
	}
	runtime.KeepAlive(f)
}

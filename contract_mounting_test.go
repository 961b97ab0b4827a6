package chargeingest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestMountedEndpointVersion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mux := mountEndpoints(f.handler.Handler)
	stored := responseOf(t, mux, request(http.MethodPost, "/api/v1/charge", strings.NewReader(event()))).requireStored(t)
	require.Len(t, responseOf(t, mux, request(http.MethodPost, "/api/v1/charges", strings.NewReader(batch(event())))).events(t), 1)
	require.Equal(t, http.StatusOK, responseOf(t, mux, request(http.MethodGet, "/api/v1/look", nil)).status)
	require.Equal(t, stored, responseOf(t, mux, request(http.MethodGet, "/api/v1/look/"+stored["id"].(string), nil)).body)
	for _, version := range []string{"v2", "v01", "vv1", "V1", "v"} {
		t.Run("unsupported version "+version, func(t *testing.T) {
			resp := responseOf(t, mux, request(http.MethodPost, "/api/"+version+"/charge", strings.NewReader(event())))
			resp.requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION", "")
		})
	}
	require.Len(t, f.list(t, "pf_a"), 2)
}

func TestStripPrefix(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, mounted := range map[string]http.Handler{
		"http.StripPrefix": http.StripPrefix("/billing", f.handler),
		"http.StripPrefix in a ServeMux": func() http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/billing/", http.StripPrefix("/billing", f.handler))
			return mux
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			resp := responseOf(t, mounted, request(http.MethodPost, "/billing"+eventPath, strings.NewReader(event())))
			stored := resp.requireStored(t)
			resp = responseOf(t, mounted, request(http.MethodGet, "/billing"+eventPath+"/"+stored["id"].(string), nil))
			require.Equal(t, stored, resp.body)
		})
	}
}

func mountEndpoints(h *chargeingest.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/shop/charge", h.IngestEvent())
	mux.Handle("/shop/charges", h.IngestEvents())
	mux.Handle("/shop/look", h.ListEvents())
	mux.Handle("/shop/look/{id}", h.GetEvent())
	mux.Handle("/api/{version}/charge", h.IngestEvent())
	mux.Handle("/api/{version}/charges", h.IngestEvents())
	mux.Handle("/api/{version}/look", h.ListEvents())
	mux.Handle("/api/{version}/look/{id}", h.GetEvent())
	return mux
}

func TestMountedEndpoints(t *testing.T) {
	t.Parallel()
	for name, base := range map[string]string{
		"pattern without a version": "/shop",
		"pattern with {version}":    "/api/1",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			mux := mountEndpoints(f.handler.Handler)
			stored := responseOf(t, mux, request(http.MethodPost, base+"/charge", strings.NewReader(event()))).requireStored(t)
			events := responseOf(t, mux, request(http.MethodPost, base+"/charges", strings.NewReader(batch(event())))).events(t)
			listed := responseOf(t, mux, request(http.MethodGet, base+"/look?order=asc", nil))
			require.Equal(t, http.StatusOK, listed.status)
			require.Equal(t, []any{stored, events[0]}, listed.body["data"])
			got := responseOf(t, mux, request(http.MethodGet, base+"/look/"+stored["id"].(string), nil))
			require.Equal(t, stored, got.body)
		})
	}
	f := newFixture(t)
	mux := mountEndpoints(f.handler.Handler)
	for _, path := range []string{"/charge", "/charges", "/look", "/look/x"} {
		method := http.MethodGet
		if strings.HasPrefix(path, "/charge") {
			method = http.MethodPost
		}
		for _, version := range []string{"2", "01", "one"} {
			t.Run("unsupported version in the pattern: "+version+path, func(t *testing.T) {
				resp := responseOf(t, mux, request(method, "/api/"+version+path, strings.NewReader(event())))
				resp.requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION", "")
			})
		}
		t.Run("wrong method: "+path, func(t *testing.T) {
			resp := responseOf(t, mux, request(http.MethodDelete, "/shop"+path, nil))
			resp.requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION", "")
			require.Contains(t, resp.header.Get("Allow"), method)
		})
		t.Run("no credential: "+path, func(t *testing.T) {
			responseOf(t, mux, request(method, "/shop"+path, nil, "-X-API-KEY")).requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
		})
	}
	f.requireNothingStored(t)
}

func TestStoreWithoutReader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withStore(storeFunc(memstore.New().Append)))
	f.post(t, eventPath, event()).requireStored(t)
	f.post(t, eventsPath, batch(event())).requireStored(t)
	t.Run("the path of the list allows only POST", func(t *testing.T) {
		resp := f.get(t, eventPath)
		resp.requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION", "")
		require.Equal(t, "POST", resp.header.Get("Allow"))
	})
	t.Run("the path of an event does not exist", func(t *testing.T) {
		f.get(t, eventPath+"/x").requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
	})
	t.Run("mounted endpoints are 404", func(t *testing.T) {
		mux := mountEndpoints(f.handler.Handler)
		for _, path := range []string{"/shop/look", "/shop/look/x"} {
			responseOf(t, mux, request(http.MethodGet, path, nil)).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
		}
	})
}

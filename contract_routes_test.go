package chargeingest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

var everyRoute = []struct {
	name, method, path, body, permission string
	status                               int
}{
	{"POST of one event", http.MethodPost, eventPath, event(), "METER_DATA.INGEST", http.StatusCreated},
	{"POST of a batch", http.MethodPost, eventsPath, batch(event()), "METER_DATA.INGEST", http.StatusCreated},
	{"GET of the list", http.MethodGet, eventPath, "", "METER_DATA.VIEW", http.StatusOK},
	{"GET of one event", http.MethodGet, eventPath + "/{id}", "", "METER_DATA.VIEW", http.StatusOK},
}

func TestRoutePermissions(t *testing.T) {
	t.Parallel()
	for _, r := range everyRoute {
		t.Run(r.name+" needs "+r.permission, func(t *testing.T) {
			var asked []chargeingest.Permission
			f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(
				func(_ *http.Request, p chargeingest.Permission) (chargeingest.Principal, error) {
					asked = append(asked, p)
					return chargeingest.Principal{Platforms: []string{"pf_a"}}, nil
				})))
			id := f.post(t, eventPath, event()).body["id"].(string)
			asked = nil
			require.Equal(t, r.status, f.send(t, r.method, r.path, r.body, id).status)
			require.Equal(t, []chargeingest.Permission{chargeingest.Permission(r.permission)}, asked)
		})
	}
}

func TestRouteSuccess(t *testing.T) {
	t.Parallel()
	t.Run("POST of one event is 201 with the stored event", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(`"reference":"r-1"`)).requireStored(t)
		require.Equal(t, "r-1", stored["reference"])
		require.Equal(t, []any{stored}, f.list(t, "pf_a"))
	})
	t.Run("POST of a batch is 201 with the stored events in the order sent", func(t *testing.T) {
		f := newFixture(t)
		resp := f.post(t, eventsPath, batch(event(`"reference":"b"`), event(`"reference":"a"`), event(`"reference":"c"`)))
		resp.requireStored(t)
		require.Len(t, resp.body, 1)
		events := resp.events(t)
		require.Len(t, events, 3)
		for i, reference := range []string{"b", "a", "c"} {
			require.Equal(t, reference, events[i]["reference"])
		}
		require.Equal(t, resp.body["charge_datas"], f.list(t, "pf_a"))
	})
	t.Run("no event of a batch with an invalid event is stored", func(t *testing.T) {
		f := newFixture(t)
		resp := f.post(t, eventsPath, batch(event(), event(), event("-pricing_id")))
		resp.requireError(t, http.StatusBadRequest, "MISSING_FIELD", "charge_datas.2.pricing_id")
		f.requireNothingStored(t)
	})
	t.Run("GET of an id is 200 with the event", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(`"value":{"number":"1.50"}`)).requireStored(t)
		resp := f.get(t, eventPath+"/"+stored["id"].(string))
		require.Equal(t, http.StatusOK, resp.status)
		require.Equal(t, stored, resp.body)
	})
	t.Run("GET of an unknown id is 404", func(t *testing.T) {
		f := newFixture(t)
		for _, id := range []string{"chda_01K41GZZZZZZZZZZZZZZZZZZZZ", "x", "%2F", "%20", "a%2Fb"} {
			resp := f.get(t, eventPath+"/"+id)
			require.Equal(t, http.StatusNotFound, resp.status, id)
			resp.requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
		}
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, r := range everyRoute {
		path := strings.TrimPrefix(r.path, "/v1")
		for _, version := range []string{"2", "01", "0", "10", "1.0", "11", "1a", "%31%31", "-1", "one"} {
			t.Run(r.name+" in version "+version+" is UNSUPPORTED_VERSION", func(t *testing.T) {
				f.send(t, r.method, "/v"+version+path, r.body, "x").requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION", "")
			})
		}
		for _, prefix := range []string{"/v", ""} {
			t.Run(r.name+" at "+prefix+path+" is MISSING_VERSION", func(t *testing.T) {
				f.send(t, r.method, prefix+path, r.body, "x").requireError(t, http.StatusBadRequest, "MISSING_VERSION", "")
			})
		}
	}
	f.requireNothingStored(t)
}

func TestUnknownPath(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v1/ingest", "/v1/ingest/", "/v1/charge-data", "/v1/ingest/charge-data/", "/v1/ingest/charge-datas/",
		"/v1/ingest/charge-datas/x", "/v1/ingest/charge-data/a/b", "/v1/ingest/charge-data//", "/v1//ingest/charge-data", "//v1/ingest/charge-data",
		"/v1/ingest/meter-data", "/v1/ingest/Charge-Data", "/v1/Ingest/charge-data", "/x1/ingest/charge-data", "/v1/v1/ingest/charge-data",
		"/v1/ingest%2Fcharge-data", "/v1/ingest/charge-data.json", "/billing/v1/ingest/charge-data", "/v2/elsewhere", "/elsewhere", "/v/ingest",
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			t.Run(method+" "+path, func(t *testing.T) {
				f.send(t, method, path, event(), "").requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
			})
		}
	}
	f.requireNothingStored(t)
}

func TestMethodNotAllowed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		path    string
		allowed []string
	}{
		{eventPath, []string{"POST", "GET", "HEAD"}},
		{eventsPath, []string{"POST"}},
		{eventPath + "/x", []string{"GET", "HEAD"}},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"} {
			allowed := strings.Join(c.allowed, " ")
			if strings.Contains(" "+allowed+" ", " "+method+" ") {
				continue
			}
			t.Run(method+" "+c.path, func(t *testing.T) {
				resp := f.send(t, method, c.path, "", "")
				if method != http.MethodHead {
					resp.requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION", "")
				}
				require.Equal(t, http.StatusMethodNotAllowed, resp.status)
				require.ElementsMatch(t, c.allowed, strings.Split(resp.header.Get("Allow"), ", "))
			})
		}
	}
	f.requireNothingStored(t)
}

func TestHEAD(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.post(t, eventPath, event()).body["id"].(string)
	srv := f.serve(t)
	for name, path := range map[string]string{
		"the list": eventPath, "an event": eventPath + "/" + id, "an unknown event": eventPath + "/x", "an invalid parameter": eventPath + "?limit=0",
	} {
		t.Run(name, func(t *testing.T) {
			responses := make(map[string]*http.Response)
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				r := request(method, srv.URL+path, nil, "X-REQUEST-ID: same-id")
				r.RequestURI = ""
				res, err := srv.Client().Do(r)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				res.Header.Del("Date")
				responses[method] = res
			}
			get, head := responses[http.MethodGet], responses[http.MethodHead]
			require.Equal(t, get.StatusCode, head.StatusCode)
			require.Equal(t, get.Header, head.Header)
			require.Positive(t, head.ContentLength)
			require.Equal(t, get.ContentLength, head.ContentLength)
		})
	}
	t.Run("a response to HEAD has no body", func(t *testing.T) {
		require.Empty(t, f.send(t, http.MethodHead, eventPath, "", "").text)
	})
}

func TestCheckOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withStore(&readableStore{
		Store: memstore.New(),
		append: func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			return chargeingest.AppendResult{}, chargeingest.ErrNotStored
		},
	}), func(c *chargeingest.Config) { c.MaxBodyBytes = 1000 })
	method, path := http.MethodDelete, "/v2/ingest/nothing"
	body := strings.Repeat(" ", 1000) + `{"reference":1}}`
	headers := map[string]string{"X-API-KEY": wrongSecret, "Content-Type": "text/plain", "Content-Encoding": "br", "Idempotency-Key": "not visible"}
	for _, step := range []struct {
		name   string
		fix    func()
		status int
		code   string
	}{
		{"1 the route", func() {}, 404, "RESOURCE_NOT_FOUND"},
		{"2 the version", func() { path = "/v2/ingest/charge-data" }, 400, "UNSUPPORTED_VERSION"},
		{"3 the method", func() { path = eventPath }, 405, "INVALID_OPERATION"},
		{"4 the credential", func() { method = http.MethodPost }, 401, "UNAUTHORISED"},
		{"4 the permission", func() { headers["X-API-KEY"] = viewSecret }, 403, "USER_NOT_ALLOWED"},
		{"5 the media type", func() { headers["X-API-KEY"] = fullSecret }, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"5 the encoding", func() { headers["Content-Type"] = "application/json" }, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"6 the size", func() { delete(headers, "Content-Encoding") }, 413, "BAD_REQUEST"},
		{"6 the body", func() { body = `{"reference":1}}` }, 400, "BAD_REQUEST"},
		{"7 the fields", func() { body = event(`"reference":1`) }, 400, "INVALID_FIELD"},
		{"7 the idempotency key", func() { body = event() }, 400, "INVALID_FIELD"},
		{"8 the store", func() { delete(headers, "Idempotency-Key") }, 503, "INTERNAL_ERROR"},
	} {
		step.fix()
		t.Run(step.name, func(t *testing.T) {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			for name, value := range headers {
				r.Header.Set(name, value)
			}
			resp := responseOf(t, f.handler, r)
			require.Equal(t, step.status, resp.status, resp.text)
			require.Equal(t, step.code, resp.body["code"], resp.text)
		})
	}
}

func TestHEADRejections(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mux := mountEndpoints(f.handler.Handler)
	id := f.post(t, eventPath, event()).requireStored(t)["id"].(string)
	for _, path := range []string{eventPath, eventPath + "/" + id} {
		for header, status := range map[string]int{
			"X-API-KEY: " + viewSecret: http.StatusOK, "X-API-KEY: " + ingestSecret: http.StatusForbidden,
			"X-API-KEY: " + wrongSecret: http.StatusUnauthorized, "-X-API-KEY": http.StatusUnauthorized,
		} {
			require.Equal(t, status, f.send(t, http.MethodHead, path, "", "", header).status, "%s with %s", path, header)
		}
	}
	for _, path := range []string{"/shop/look", "/shop/look/" + id} {
		t.Run("mounted endpoint: "+path, func(t *testing.T) {
			resp := responseOf(t, mux, request(http.MethodHead, path, nil))
			require.Equal(t, http.StatusOK, resp.status)
			require.Empty(t, resp.text)
		})
	}
}

func TestMissingVersionComesFirst(t *testing.T) {
	t.Parallel()
	resp := newFixture(t).send(t, http.MethodDelete, "/ingest/charge-data", "", "", "-X-API-KEY")
	resp.requireError(t, http.StatusBadRequest, "MISSING_VERSION", "")
}

func TestGetUnknownEvent(t *testing.T) {
	t.Parallel()
	resp := newFixture(t).get(t, eventPath+"/chda_01K41GZZZZZZZZZZZZZZZZZZZZ")
	resp.requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
	require.Equal(t, "chda_01K41GZZZZZZZZZZZZZZZZZZZZ", resp.body["resource_id"])
}

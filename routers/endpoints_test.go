package routers_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func requireEndpoints(t *testing.T, s server) {
	t.Helper()
	for _, c := range []struct{ name, base, reference string }{
		{"the version in the pattern is 1", "/api/1", "single-1"},
		{"the version in the pattern is v1", "/api/v1", "single-v1"},
		{"without a version in the pattern the default is 1", "", "single"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, reference := c.base, c.reference
			one := s.post(t, base+"/charges", event(reference, "1"))
			require.Equal(t, http.StatusCreated, one.status, one.text)
			many := s.post(t, base+"/batches", batch(event(reference, "1"), event(reference+"-2", "1")))
			require.Equal(t, http.StatusCreated, many.status, many.text)
			require.Equal(t, one.body, many.body["charge_datas"].([]any)[0])
			require.Equal(t, []any{one.body}, s.get(t, base+"/charges?reference="+reference).body["data"])

			path := base + "/charges/" + one.body["id"].(string)
			require.Equal(t, one.body, s.get(t, path).body)
			require.Equal(t, http.StatusOK, s.do(t, http.MethodHead, path, "").status)
			s.get(t, base+"/charges/none").requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
			s.get(t, path, "-Cookie").requireError(t, http.StatusUnauthorized, "UNAUTHORISED")
			s.post(t, base+"/charges", event("", "1"), as("vic")).requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")
		})
	}
	for _, version := range []string{"2", "v2", "01", "one"} {
		t.Run("the version "+version+" in the pattern is UNSUPPORTED_VERSION", func(t *testing.T) {
			base := "/api/" + version
			s.post(t, base+"/charges", event("", "1")).requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
			s.post(t, base+"/batches", batch(event("", "1"))).requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
			s.get(t, base+"/charges").requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
			s.get(t, base+"/charges/x").requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
		})
	}
}

package openapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"
)

func validated(t *testing.T) *http.Client {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../schema/openapi.yaml")
	require.NoError(t, err)
	doc.Servers = nil // match only paths
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	return &http.Client{Transport: validator{router}}
}

type validator struct{ router routers.Router }

func (v validator) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	local := r.Clone(r.Context())
	local.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	local.Body = io.NopCloser(bytes.NewReader(sent))

	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	received, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(received))

	route, path, err := v.router.FindRoute(local)
	if err != nil {
		return nil, err
	}
	request := &openapi3filter.RequestValidationInput{
		Request: local, PathParams: path, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	err = openapi3filter.ValidateRequest(r.Context(), request)
	switch rejected := response.StatusCode == http.StatusBadRequest; {
	case rejected && err == nil:
		return nil, fmt.Errorf("the server rejected a valid request: %s", received)
	case !rejected && err != nil:
		return nil, fmt.Errorf("the server responded %s to an invalid request: %w", response.Status, err)
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: response.StatusCode, Header: response.Header,
		Body: io.NopCloser(bytes.NewReader(received)), Options: request.Options,
	})
	return response, err
}

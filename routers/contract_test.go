package routers_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	eventPath  = prefix + "/v1/ingest/charge-data"
	eventsPath = prefix + "/v1/ingest/charge-datas"
)

func requireContract(t *testing.T, s server) {
	t.Helper()
	t.Run("a repeated event is stored once", s.checkReplays)
	t.Run("a batch is stored completely or not at all", s.checkBatches)
	t.Run("GET and HEAD return stored events", s.checkReads)
	t.Run("the version must be 1", s.checkVersions)
	t.Run("unknown paths are RESOURCE_NOT_FOUND", s.checkUnknownPaths)
	t.Run("wrong methods are 405 with Allow", s.checkWrongMethods)
	t.Run("permissions come from the login", s.checkAuthorization)
	t.Run("platforms are isolated", s.checkPlatforms)
	t.Run("X-REQUEST-ID is returned", s.checkRequestIDs)
	t.Run("bodies are JSON, plain or gzip, and limited", s.checkBodies)
	t.Run("a large body is rejected before its end", s.checkUnfinishedBody)
	t.Run("unauthorized requests get no 100 Continue", s.checkExpectContinue)
}

func (s server) checkReplays(t *testing.T) {
	first := s.post(t, eventPath, event("twice", "1"))
	require.Equal(t, http.StatusCreated, first.status, first.text)
	require.Empty(t, first.header.Values("Idempotent-Replayed"))

	again := s.post(t, eventPath, event("twice", "1"))
	require.Equal(t, http.StatusCreated, again.status, again.text)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, first.text, again.text)

	other := s.post(t, eventPath, event("twice", "2"))
	other.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS")
	require.Equal(t, "reference", other.body["field"])
	require.Contains(t, other.body["message"], "value.number")
	require.Equal(t, first.body["id"], other.body["resource_id"])

	const key = "Idempotency-Key: the-same-request"
	first = s.post(t, eventPath, event("", "1"), key)
	again = s.post(t, eventPath, event("", "1"), key)
	require.Equal(t, first.text, again.text)
	s.post(t, eventPath, event("", "2"), key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED")
}

func (s server) checkBatches(t *testing.T) {
	got := s.post(t, eventsPath, batch(event("batch-1", "1"), event("batch-2", "2")))
	require.Equal(t, http.StatusCreated, got.status, got.text)
	require.Len(t, got.body["charge_datas"], 2)

	got = s.post(t, eventsPath, batch(event("batch-3", "1"), event("batch-4", "one")))
	got.requireError(t, http.StatusBadRequest, "INVALID_FIELD")
	require.Equal(t, "charge_datas.1.value.number", got.body["field"])
	require.Empty(t, s.get(t, eventPath+"?reference=batch-3").body["data"])
}

func (s server) checkReads(t *testing.T) {
	stored := s.post(t, eventPath, event("read", "1"))
	require.Equal(t, http.StatusCreated, stored.status, stored.text)
	byID, byReference := eventPath+"/"+stored.body["id"].(string), eventPath+"?reference=read"

	require.Equal(t, stored.body, s.get(t, byID).body)
	require.Equal(t, []any{stored.body}, s.get(t, byReference).body["data"])
	for _, path := range []string{byID, byReference, eventPath + "/none", eventPath + "?limit=0"} {
		get, head := s.get(t, path), s.do(t, http.MethodHead, path, "")
		require.Equal(t, get.status, head.status)
		require.Equal(t, get.header.Get("Content-Length"), head.header.Get("Content-Length"))
		require.Empty(t, head.text)
	}

	s.get(t, eventPath+"/a%2Fb").requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
}

func (s server) checkVersions(t *testing.T) {
	for _, c := range []struct{ version, code string }{
		{"/v2", "UNSUPPORTED_VERSION"}, {"/v01", "UNSUPPORTED_VERSION"}, {"/v", "MISSING_VERSION"}, {"", "MISSING_VERSION"},
	} {
		for _, name := range []string{"/ingest/charge-data", "/ingest/charge-datas"} {
			s.post(t, prefix+c.version+name, event("", "1")).requireError(t, http.StatusBadRequest, c.code)
		}
		for _, name := range []string{"/ingest/charge-data", "/ingest/charge-data/x"} {
			s.get(t, prefix+c.version+name).requireError(t, http.StatusBadRequest, c.code)
		}
	}
}

func (s server) checkUnknownPaths(t *testing.T) {
	for _, path := range []string{
		"/", "/v1", "/v1/ingest", "/v1/ingest/charge-data/", "/v1/ingest/charge-data/a/b", "/v1/ingest%2Fcharge-data", "/v1/ingest/Charge-Data",
	} {
		s.get(t, prefix+path).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
		s.post(t, prefix+path, event("", "1")).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
	}
}

func (s server) checkWrongMethods(t *testing.T) {
	for _, c := range []struct{ method, path, allowed string }{
		{http.MethodDelete, eventPath, "POST, GET, HEAD"},
		{http.MethodPut, eventsPath, "POST"},
		{http.MethodGet, eventsPath, "POST"},
		{http.MethodPatch, eventPath + "/x", "GET, HEAD"},
		{http.MethodOptions, eventPath + "/x", "GET, HEAD"},
	} {
		got := s.do(t, c.method, c.path, "")
		got.requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
		require.Equal(t, c.allowed, got.header.Get("Allow"))
	}
}

func (s server) checkAuthorization(t *testing.T) {
	for name, cookie := range map[string]string{"no session": "-Cookie", "an unknown session": as("eve")} {
		t.Run(name+" is 401", func(t *testing.T) {
			got := s.post(t, eventPath, event("", "1"), cookie)
			got.requireError(t, http.StatusUnauthorized, "UNAUTHORISED")
			require.Equal(t, "Bearer", got.header.Get("WWW-Authenticate"))
		})
	}
	t.Run("a user without the permission is 403", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.get(t, eventPath, as("vic")).status)
		s.post(t, eventPath, event("", "1"), as("vic")).requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")
	})
}

func (s server) checkPlatforms(t *testing.T) {
	stored := s.post(t, eventPath, event("second", "1"), "X-Platform-Id: pf_b")
	require.Equal(t, http.StatusCreated, stored.status, stored.text)
	path := eventPath + "?reference=second"
	require.Empty(t, s.get(t, path).body["data"])
	require.Len(t, s.get(t, path, "X-Platform-Id: pf_b").body["data"], 1)

	foreign := s.post(t, eventPath, event("", "1"), "X-Platform-Id: pf_c")
	foreign.requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")
	require.Equal(t, foreign.text, s.post(t, eventPath, event("", "1"), "X-Platform-Id: none").text)

	again := s.post(t, eventPath, event("second", "1"), "X-Platform-Id: pf_b")
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"), again.text)
}

func (s server) checkRequestIDs(t *testing.T) {
	require.Equal(t, "mine-1", s.get(t, eventPath, "X-Request-Id: mine-1").header.Get("X-Request-Id"))
	require.Equal(t, "mine-2", s.get(t, prefix+"/", "X-Request-Id: mine-2").header.Get("X-Request-Id"))
	require.Regexp(t, "^reqr_[0-9A-Z]{20,}$", s.get(t, eventPath).header.Get("X-Request-Id"))
}

func (s server) checkBodies(t *testing.T) {
	const zip = "Content-Encoding: gzip"
	large := strings.Repeat(" ", maxBody) + event("", "1")
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, large[len(large)-maxBody:]).status)
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, zipped(t, event("", "1")), zip).status)
	s.post(t, eventPath, large).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST")
	s.post(t, eventPath, zipped(t, large), zip).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST")

	for _, header := range []string{"Content-Type: text/plain", "-Content-Type", "Content-Encoding: br"} {
		got := s.post(t, eventPath, event("", "1"), header)
		got.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
		require.Equal(t, "application/json", got.header.Get("Accept-Post"))
	}
	s.post(t, eventPath, `{"reference":`).requireError(t, http.StatusBadRequest, "BAD_REQUEST")
	s.post(t, eventPath, "").requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
}

// HTTP/1.1 servers read 256 KiB more before they respond.
func (s server) checkUnfinishedBody(t *testing.T) {
	if s.buffers {
		t.Skip("this server reads bodies first")
	}
	body := newUnfinishedBody(maxBody + 320<<10)
	defer body.Close()
	r := s.request(t, http.MethodPost, eventPath, event("", "1"))
	r.ContentLength, r.Body = -1, body
	s.send(t, r).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST")
}

func (s server) checkExpectContinue(t *testing.T) {
	const expect = "Expect: 100-continue"
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, event("", "1"), expect).status)
	r := s.request(t, http.MethodPost, eventPath, event("", "1"), expect, "-Cookie")
	unread := strings.NewReader(event("", "1"))
	r.Body = io.NopCloser(unread)
	s.send(t, r).requireError(t, http.StatusUnauthorized, "UNAUTHORISED")
	require.Equal(t, !s.buffers, unread.Len() > 0, "%d bytes of the body are not sent", unread.Len())
}

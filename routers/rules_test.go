package routers_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The paths of the routed form, below the prefix.
const (
	eventPath  = prefix + "/v1/ingest/charge-data"
	eventsPath = prefix + "/v1/ingest/charge-datas"
)

// requireRules holds a mounted handler to the wire contract, as far as a host
// can come between: routes, versions, credentials, headers and bodies.
func requireRules(t *testing.T, s site) {
	t.Helper()
	t.Run("an event is stored once, however often it is sent", s.sentTwice)
	t.Run("a batch is stored whole", s.batches)
	t.Run("events are read back by GET and HEAD", s.readBack)
	t.Run("the version is 1, and must be there", s.versions)
	t.Run("another path below the prefix is RESOURCE_NOT_FOUND", s.otherPaths)
	t.Run("another method is 405 with Allow", s.otherMethods)
	t.Run("the host's login decides who may do what", s.logins)
	t.Run("a platform is one's own", s.platforms)
	t.Run("X-REQUEST-ID comes back", s.requestIDs)
	t.Run("bodies are JSON, plain or gzip, within their limit", s.bodies)
	t.Run("a body is refused while it is being sent", s.unfinished)
	t.Run("who may not send is not asked for the body, unless the host reads all bodies", s.expectations)
}

func (s site) sentTwice(t *testing.T) {
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

func (s site) batches(t *testing.T) {
	a := s.post(t, eventsPath, batch(event("batch-1", "1"), event("batch-2", "2")))
	require.Equal(t, http.StatusCreated, a.status, a.text)
	require.Len(t, a.body["charge_datas"], 2)

	a = s.post(t, eventsPath, batch(event("batch-3", "1"), event("batch-4", "one")))
	a.requireError(t, http.StatusBadRequest, "INVALID_FIELD")
	require.Equal(t, "charge_datas.1.value.number", a.body["field"])
	require.Empty(t, s.get(t, eventPath+"?reference=batch-3").body["data"])
}

func (s site) readBack(t *testing.T) {
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

	// A slash within an id stays in it, and there is no such id.
	s.get(t, eventPath+"/a%2Fb").requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
}

func (s site) versions(t *testing.T) {
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

func (s site) otherPaths(t *testing.T) {
	for _, path := range []string{
		"/", "/v1", "/v1/ingest", "/v1/ingest/charge-data/", "/v1/ingest/charge-data/a/b", "/v1/ingest%2Fcharge-data", "/v1/ingest/Charge-Data",
	} {
		s.get(t, prefix+path).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
		s.post(t, prefix+path, event("", "1")).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
	}
}

func (s site) otherMethods(t *testing.T) {
	for _, c := range []struct{ method, path, allowed string }{
		{http.MethodDelete, eventPath, "POST, GET, HEAD"},
		{http.MethodPut, eventsPath, "POST"},
		{http.MethodGet, eventsPath, "POST"},
		{http.MethodPatch, eventPath + "/x", "GET, HEAD"},
		{http.MethodOptions, eventPath + "/x", "GET, HEAD"},
	} {
		a := s.do(t, c.method, c.path, "")
		a.requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
		require.Equal(t, c.allowed, a.header.Get("Allow"))
	}
}

func (s site) logins(t *testing.T) {
	for name, cookie := range map[string]string{"no session": "-Cookie", "a session that nobody has": as("eve")} {
		t.Run(name+" is 401", func(t *testing.T) {
			a := s.post(t, eventPath, event("", "1"), cookie)
			a.requireError(t, http.StatusUnauthorized, "UNAUTHORISED")
			require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
		})
	}
	t.Run("a user without the permission is 403", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.get(t, eventPath, as("vic")).status)
		s.post(t, eventPath, event("", "1"), as("vic")).requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")
	})
}

func (s site) platforms(t *testing.T) {
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

func (s site) requestIDs(t *testing.T) {
	require.Equal(t, "mine-1", s.get(t, eventPath, "X-Request-Id: mine-1").header.Get("X-Request-Id"))
	require.Equal(t, "mine-2", s.get(t, prefix+"/", "X-Request-Id: mine-2").header.Get("X-Request-Id"))
	require.Regexp(t, "^reqr_[0-9A-Z]{20,}$", s.get(t, eventPath).header.Get("X-Request-Id"))
}

func (s site) bodies(t *testing.T) {
	const zip = "Content-Encoding: gzip"
	large := strings.Repeat(" ", maxBody) + event("", "1")
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, large[len(large)-maxBody:]).status)
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, zipped(t, event("", "1")), zip).status)
	s.post(t, eventPath, large).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST")
	s.post(t, eventPath, zipped(t, large), zip).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST")

	for _, header := range []string{"Content-Type: text/plain", "-Content-Type", "Content-Encoding: br"} {
		a := s.post(t, eventPath, event("", "1"), header)
		a.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
		require.Equal(t, "application/json", a.header.Get("Accept-Post"))
	}
	s.post(t, eventPath, `{"reference":`).requireError(t, http.StatusBadRequest, "BAD_REQUEST")
	s.post(t, eventPath, "").requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
}

// unfinished sends more than the limit and then waits for the answer: a server
// of HTTP/1.1 reads 256 KiB that nobody wants before it gives one.
func (s site) unfinished(t *testing.T) {
	if s.buffers {
		t.Skip("this host has a limit of its own")
	}
	body := newUnfinishedBody(maxBody + 320<<10)
	defer body.Close()
	r := s.request(t, http.MethodPost, eventPath, event("", "1"))
	r.ContentLength, r.Body = -1, body
	s.send(t, r).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST")
}

func (s site) expectations(t *testing.T) {
	const expect = "Expect: 100-continue"
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, event("", "1"), expect).status)
	r := s.request(t, http.MethodPost, eventPath, event("", "1"), expect, "-Cookie")
	unread := strings.NewReader(event("", "1"))
	r.Body = io.NopCloser(unread)
	s.send(t, r).requireError(t, http.StatusUnauthorized, "UNAUTHORISED")
	require.Equal(t, !s.buffers, unread.Len() > 0, "of the body %d bytes are not sent", unread.Len())
}

// as is the header of a user's session.
func as(session string) string { return "Cookie: " + sessionCookie + "=" + session }

// request makes a request of the user ada with the media type of JSON. Headers
// are "Name: value" and take the place of a default; "-Name" leaves it out. A
// body above the limit is sent when it is asked for, as an answer can be lost
// where a server cuts the connection of a client that is still writing.
func (s site) request(t *testing.T, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.root+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Cookie", sessionCookie+"=ada")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if len(body) > maxBody {
		r.Header.Set("Expect", "100-continue")
	}
	for _, h := range headers {
		if name, ok := strings.CutPrefix(h, "-"); ok {
			r.Header.Del(name)
			continue
		}
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func (s site) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	return s.send(t, s.request(t, method, path, body, headers...))
}

func (s site) post(t *testing.T, path, body string, headers ...string) answer {
	t.Helper()
	return s.do(t, http.MethodPost, path, body, headers...)
}

func (s site) get(t *testing.T, path string, headers ...string) answer {
	t.Helper()
	return s.do(t, http.MethodGet, path, "", headers...)
}

// answer is an answer of the handler.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// send sends a request and holds the answer to what is true of all that come
// from the handler.
func (s site) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	a := s.sendToHost(t, r)
	require.Equal(t, "application/json", a.header.Get("Content-Type"), a.text)
	require.NotEmpty(t, a.header.Get("X-Request-Id"))
	length, err := strconv.Atoi(a.header.Get("Content-Length"))
	require.NoError(t, err)
	if r.Method == http.MethodHead {
		require.Positive(t, length)
		return a
	}
	require.Len(t, a.text, length)
	require.NoError(t, json.Unmarshal([]byte(a.text), &a.body), a.text)
	return a
}

// sendToHost sends a request that may be answered by the host itself.
func (s site) sendToHost(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := s.client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, s.proto, res.ProtoMajor)
	return answer{status: res.StatusCode, header: res.Header, text: string(text)}
}

// sendInVain sends a request that gets no answer, and returns why.
func (s site) sendInVain(t *testing.T, r *http.Request) error {
	t.Helper()
	res, err := s.client.Do(r)
	if err == nil {
		res.Body.Close()
	}
	return err
}

// requireError holds an answer to a status, a code and the shape of errors.
func (a answer) requireError(t *testing.T, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.status, a.text)
	require.Equal(t, code, a.body["code"], a.text)
	require.Equal(t, "INVALID_REQUEST", a.body["type"], a.text)
	require.NotEmpty(t, a.body["message"], a.text)
}

// event is a charge event with a reference, none where it is empty.
func event(reference, number string) string {
	if reference != "" {
		reference = fmt.Sprintf(`"reference":%q,`, reference)
	}
	return `{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",` +
		reference + fmt.Sprintf(`"value":{"number":%q}}`, number)
}

func batch(events ...string) string { return `{"charge_datas":[` + strings.Join(events, ",") + `]}` }

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// unfinishedBody is white space, and then nothing until it is closed.
type unfinishedBody struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newUnfinishedBody(size int) *unfinishedBody {
	b := &unfinishedBody{closed: make(chan struct{})}
	b.Reader = io.MultiReader(strings.NewReader(strings.Repeat(" ", size)), untilClosed{b.closed})
	return b
}

func (b *unfinishedBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

type untilClosed struct{ closed <-chan struct{} }

func (r untilClosed) Read([]byte) (int, error) {
	<-r.closed
	return 0, io.ErrClosedPipe
}

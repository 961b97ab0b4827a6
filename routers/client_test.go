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
	"time"

	"github.com/stretchr/testify/require"
)

func as(session string) string { return "Cookie: " + sessionCookie + "=" + session }

// Headers are "Name: value", or "-Name" to remove a default. Large bodies wait for
// 100-continue, because a client that is still writing can lose the response.
func (s server) request(t *testing.T, method, path, body string, headers ...string) *http.Request {
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

func (s server) do(t *testing.T, method, path, body string, headers ...string) response {
	t.Helper()
	return s.send(t, s.request(t, method, path, body, headers...))
}

func (s server) post(t *testing.T, path, body string, headers ...string) response {
	t.Helper()
	return s.do(t, http.MethodPost, path, body, headers...)
}

func (s server) get(t *testing.T, path string, headers ...string) response {
	t.Helper()
	return s.do(t, http.MethodGet, path, "", headers...)
}

type response struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (s server) send(t *testing.T, r *http.Request) response {
	t.Helper()
	got := s.sendAny(t, r)
	require.Equal(t, "application/json", got.header.Get("Content-Type"), got.text)
	require.NotEmpty(t, got.header.Get("X-Request-Id"))
	length, err := strconv.Atoi(got.header.Get("Content-Length"))
	require.NoError(t, err)
	if r.Method == http.MethodHead {
		require.Positive(t, length)
		return got
	}
	require.Len(t, got.text, length)
	require.NoError(t, json.Unmarshal([]byte(got.text), &got.body), got.text)
	return got
}

func (s server) sendAny(t *testing.T, r *http.Request) response {
	t.Helper()
	res, err := s.client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, s.proto, res.ProtoMajor)
	return response{status: res.StatusCode, header: res.Header, text: string(text)}
}

func (s server) sendExpectingError(t *testing.T, r *http.Request) error {
	t.Helper()
	res, err := s.client.Do(r)
	if err == nil {
		res.Body.Close()
	}
	return err
}

func (r response) requireError(t *testing.T, status int, code string) {
	t.Helper()
	require.Equal(t, status, r.status, r.text)
	require.Equal(t, code, r.body["code"], r.text)
	require.Equal(t, "INVALID_REQUEST", r.body["type"], r.text)
	require.NotEmpty(t, r.body["message"], r.text)
}

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

func plainClient(c *http.Client) *http.Client {
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	return c
}

package chargeingest_test

import (
	"bufio"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type headerFilter struct {
	http.ResponseWriter
	header http.Header
}

func (w *headerFilter) Header() http.Header { return w.header }

func (w *headerFilter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *headerFilter) WriteHeader(status int) {
	maps.Copy(w.ResponseWriter.Header(), w.header)
	w.ResponseWriter.Header().Del("Connection")
	w.ResponseWriter.WriteHeader(status)
}

// Without the header that closes the connection, late bytes must not be parsed as a
// request.
func TestSmugglingBehindMiddleware(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, framing := range map[string]string{
		"small": "Content-Length: 1000\r\n\r\n", "large": "Content-Length: 1000000\r\n\r\n",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n", "incomplete": "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"100 Continue": "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var paths []string
				conn := newFixture(t).pipeServer(t, func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						paths = append(paths, r.URL.Path)
						h.ServeHTTP(&headerFilter{w, http.Header{}}, r)
					})
				}).dial(t)
				writeAsync(conn, unauthorizedPost+framing)
				start := time.Now()
				in := bufio.NewReader(conn)
				require.Equal(t, http.StatusUnauthorized, readResponse(t, in).status)
				require.LessOrEqual(t, time.Since(start), 20*time.Millisecond)
				time.Sleep(6 * time.Second)
				writeAsync(conn, smuggled)
				rest, _ := readUntilClose(t, in)
				require.Empty(t, rest)
				require.Equal(t, []string{eventPath}, paths)
			})
		})
	}
}

type plainWriter struct{ http.ResponseWriter }

type unwrappableWriter struct{ http.ResponseWriter }

func (w unwrappableWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type bufferedWriter struct {
	unwrappableWriter
	recorder *httptest.ResponseRecorder
}

func (w bufferedWriter) WriteHeader(status int) { w.recorder.WriteHeader(status) }

func (w bufferedWriter) Write(p []byte) (int, error) { return w.recorder.Write(p) }

func TestRejectionBehindMiddleware(t *testing.T) {
	wrapped := func(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrap(w), r) })
		}
	}
	t.Run("ResponseWriter with Unwrap", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).pipeServer(t, wrapped(func(w http.ResponseWriter) http.ResponseWriter { return unwrappableWriter{w} })).dial(t)
			writeAsync(conn, unauthorizedPost+"Content-Length: 100\r\n\r\n")
			start := time.Now()
			require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
			require.LessOrEqual(t, time.Since(start), 10*time.Millisecond)
		})
	})
	t.Run("buffered response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).pipeServer(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					buffered := bufferedWriter{unwrappableWriter{w}, httptest.NewRecorder()}
					h.ServeHTTP(buffered, r)
					w.WriteHeader(buffered.recorder.Code)
					_, _ = w.Write(buffered.recorder.Body.Bytes())
				})
			}).dial(t)
			writeAsync(conn, postText(event()))
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
		})
	})
	t.Run("ResponseWriter without Unwrap", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).pipeServer(t, wrapped(func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} })).dial(t)
			writeAsync(conn, unauthorizedPost+"Content-Length: 3\r\n\r\nabc")
			resp := readResponse(t, bufio.NewReader(conn))
			require.Equal(t, http.StatusUnauthorized, resp.status)
			require.Empty(t, resp.header.Get("Connection"), "left to net/http")
		})
	})
	t.Run("http.MaxBytesHandler", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).pipeServer(t, func(h http.Handler) http.Handler { return http.MaxBytesHandler(h, 10) }).dial(t)
			writeAsync(conn, unauthorizedPost+"Content-Length: 100\r\n\r\n"+strings.Repeat("x", 100))
			require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
			rest, _ := io.ReadAll(conn)
			require.Empty(t, rest)
		})
	})
	t.Run("middleware that continues after the response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).pipeServer(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(w, r)
					time.Sleep(time.Minute)
				})
			}).dial(t)
			writeAsync(conn, postText(event()))
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
			time.Sleep(2 * time.Minute)
		})
	})
}

package chargeingest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// refusals are the responses that do not need the body. The request line and headers
// are without those of the body's length.
var refusals = []struct {
	name     string
	settings []func(*chargeingest.Config)
	head     string
	status   int
}{
	{"401", nil, strings.Replace(head(postLine), fullSecret, wrongSecret, 1), 401},
	{"403", nil, strings.Replace(head(postLine), fullSecret, viewSecret, 1), 403},
	{"404", nil, head("POST /nowhere HTTP/1.1"), 404},
	{"405", nil, head("PUT " + eventPath + " HTTP/1.1"), 405},
	{"413", nil, head(postLine), 413},
	{"415", nil, strings.Replace(head(postLine), "application/json", "text/plain", 1), 415},
	{"503 of the authorizer", []func(*chargeingest.Config){refusedWith(func(*http.Request) string { return "down" })}, head(postLine), 503},
	{"400 of the version", nil, head("POST /v2/ingest/charge-data HTTP/1.1"), 400},
	{"a GET that needs no body", nil, head("GET " + eventPath + " HTTP/1.1"), 200},
}

// TestRejectionWhileWriting has clients that read nothing before they
// have written a body of 8 MiB, which does not fit into the buffers of a socket.
func TestRejectionWhileWriting(t *testing.T) {
	t.Parallel()
	body := strings.Repeat(" ", 8<<20)
	for name, framed := range map[string]string{
		"Content-Length":         fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunks":                 fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
		"Expect: 100-continue":   fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		"a connection that ends": fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
	} {
		for _, c := range refusals {
			t.Run(c.name+" with "+name, func(t *testing.T) {
				t.Parallel()
				conn := newFixture(t, c.settings...).wire(t).dial(t)
				_, err := io.WriteString(conn, c.head+framed)
				require.NoError(t, err, "writing the body")
				require.Equal(t, c.status, readResponse(t, bufio.NewReader(conn)).status)
			})
		}
	}
}

// The rest of a body beyond the budget is discarded as well.
func TestOverloadWhileWriting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1<<20, 1<<20 })
	arriving, sender := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodPost, eventPath, arriving))
	}()
	_, err := io.WriteString(sender, strings.Repeat(" ", 700_000))
	require.NoError(t, err)
	conn := f.wire(t).dial(t)
	_, err = fmt.Fprintf(conn, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head(postLine), 8<<20, strings.Repeat(" ", 8<<20))
	require.NoError(t, err, "writing the body")
	a := readResponse(t, bufio.NewReader(conn))
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.Equal(t, "1", a.header.Get("Retry-After"))
	require.NoError(t, sender.CloseWithError(errors.New("gone")))
	<-done
}

func TestRejectionWhileWritingOverTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(newFixture(t).handler)
	t.Cleanup(srv.Close)
	for _, framing := range []string{"Content-Length: 8388608\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n800000\r\n"} {
		conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), srv.Client().Transport.(*http.Transport).TLSClientConfig)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
		_, err = io.WriteString(conn, strings.Replace(head(postLine), fullSecret, wrongSecret, 1)+framing+strings.Repeat(" ", 8<<20))
		require.NoError(t, err, "writing the body")
		require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
	}
}

// dial connects to the server for as long as no request should take.
func (w wire) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

// readResponse reads a response.
func readResponse(t *testing.T, in *bufio.Reader) response {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.NotEmpty(t, res.Header.Get("X-Request-Id"), "a response of the handler")
	if res.Close { // ReadResponse has taken the header out
		res.Header.Set("Connection", "close")
	}
	return response{status: res.StatusCode, header: res.Header, text: string(body)}
}

// pipes is a listener within a synctest bubble: its connections are net.Pipes, which
// have deadlines of the bubble's clock and no buffers.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// piped is a server within a bubble.
type piped struct {
	*http.Server
	listener *pipes
}

func (f *fixture) piped(t *testing.T, wrap ...func(http.Handler) http.Handler) *piped {
	t.Helper()
	h := http.Handler(f.handler)
	for _, w := range wrap {
		h = w(h)
	}
	p := &piped{&http.Server{Handler: h, Protocols: new(http.Protocols)}, &pipes{make(chan net.Conn), make(chan struct{})}}
	p.Protocols.SetHTTP1(true)
	p.Protocols.SetUnencryptedHTTP2(true)
	return p
}

// dial starts the server if it has not been, and connects to it.
func (p *piped) dial(t *testing.T) net.Conn {
	t.Helper()
	go func() { _ = p.Serve(p.listener) }()
	client, server := net.Pipe()
	p.listener.conns <- server
	t.Cleanup(func() { _ = client.Close(); _ = p.Close() })
	return client
}

// shutdown returns how long the server takes to shut down.
func (p *piped) shutdown(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Shutdown(ctx))
	return time.Since(start)
}

// write writes a text without waiting for it to be read.
func write(conn net.Conn, text string) { go func() { _, _ = io.WriteString(conn, text) }() }

// ends waits until the server closes, and returns what it has sent until then and
// how long that took.
func ends(t *testing.T, in io.Reader) (rest string, after time.Duration) {
	t.Helper()
	start := time.Now()
	text, err := io.ReadAll(in)
	require.NoError(t, err)
	return string(text), time.Since(start)
}

// TestRejectionBeforeBody has clients whose bodies never come.
func TestRejectionBeforeBody(t *testing.T) {
	for name, framing := range map[string]string{
		"small": "Content-Length: 100\r\n", "large": "Content-Length: 8000000\r\n", "chunked": "Transfer-Encoding: chunked\r\n",
		"of which a part came": "Content-Length: 100\r\n\r\n{", "of which a chunk came": "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		for _, c := range refusals {
			if c.status == 413 {
				continue // known by the body, or by its length
			}
			t.Run(c.name+", the body is "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn := newFixture(t, c.settings...).piped(t).dial(t)
					write(conn, strings.TrimSuffix(c.head+framing, "{")+"\r\n")
					start := time.Now()
					in := bufio.NewReader(conn)
					a := readResponse(t, in)
					require.Equal(t, c.status, a.status)
					require.LessOrEqual(t, time.Since(start), 10*time.Millisecond)
					rest, after := ends(t, in)
					require.Empty(t, rest)
					require.Less(t, after, 6*time.Second) // with half a second of net/http
				})
			})
		}
	}
}

// TestUnansweredExpect has clients that wait to be told to send their body.
func TestUnansweredExpect(t *testing.T) {
	for _, method := range []string{"POST", "HEAD"} {
		for _, framing := range []string{
			"Content-Length: 100\r\nExpect: 100-continue\r\n", "Content-Length: 8000000\r\nExpect: 100-Continue\r\n",
			"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "Content-Length: 100\r\nExpect: 100-continue, more\r\n",
		} {
			t.Run(method+" "+framing, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn := newFixture(t).piped(t).dial(t)
					write(conn, strings.Replace(head(method+" "+eventPath+" HTTP/1.1"), fullSecret, wrongSecret, 1)+framing+"\r\n")
					text, after := ends(t, conn)
					require.True(t, strings.HasPrefix(text, "HTTP/1.1 401 "), text)
					require.Contains(t, text, "Connection: close\r\n")
					require.NotContains(t, text, "100 Continue")
					require.Less(t, after, time.Second)
				})
			})
		}
	}
}

// TestConnectionAfterRejection says which connections serve another request, and
// that no body is taken for one.
func TestConnectionAfterRejection(t *testing.T) {
	t.Parallel()
	const again = "GET /again HTTP/1.1\r\nHost: x\r\n\r\n"
	body := strings.Repeat(again, 10)
	for _, c := range refusals {
		if c.status == 413 {
			continue
		}
		t.Run(c.name+": a small body that comes with the head is read first", func(t *testing.T) {
			t.Parallel()
			conn := newFixture(t, c.settings...).wire(t).dial(t)
			_, err := fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s%s", c.head, len(body), body, again)
			require.NoError(t, err)
			in := bufio.NewReader(conn)
			require.Equal(t, c.status, readResponse(t, in).status)
			require.Equal(t, http.StatusNotFound, readResponse(t, in).status)
		})
		for name, framed := range map[string]string{
			"a small body that comes late":   fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)),
			"a large body that comes late":   fmt.Sprintf("Content-Length: %d\r\n\r\n", 1<<20),
			"a chunk that comes late":        fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(body)),
			"a body that nobody asked for":   fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)),
			"a body of which more comes not": fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*len(body)),
		} {
			t.Run(c.name+": "+name+" ends the connection", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, append(c.settings, func(c *chargeingest.Config) { c.MaxDiscardTime = 100 * time.Millisecond })...)
				conn := f.wire(t).dial(t)
				_, err := io.WriteString(conn, c.head+framed)
				require.NoError(t, err)
				in := bufio.NewReader(conn)
				a := readResponse(t, in)
				require.Equal(t, c.status, a.status)
				require.Equal(t, "close", a.header.Get("Connection"))
				_, _ = io.WriteString(conn, body) // the server may have closed
				rest, _ := io.ReadAll(in)
				require.Empty(t, rest, "the body was taken for a request")
			})
		}
	}
}

// ownHeader is a ResponseWriter of middleware that passes on all headers but
// Connection, as proxies do.
type ownHeader struct {
	http.ResponseWriter
	header http.Header
}

func (w *ownHeader) Header() http.Header         { return w.header }
func (w *ownHeader) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *ownHeader) WriteHeader(status int) {
	maps.Copy(w.ResponseWriter.Header(), w.header)
	w.ResponseWriter.Header().Del("Connection")
	w.ResponseWriter.WriteHeader(status)
}

// TestBodyIsNoRequestBehindMiddleware has middleware that drops the header that
// closes the connection, and bodies that come after the time to discard them.
func TestBodyIsNoRequestBehindMiddleware(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, framing := range map[string]string{
		"small": "Content-Length: 1000\r\n\r\n", "large": "Content-Length: 1000000\r\n\r\n",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n", "of which a chunk came": "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"expected": "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var paths []string
				conn := newFixture(t).piped(t, func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						paths = append(paths, r.URL.Path)
						h.ServeHTTP(&ownHeader{w, http.Header{}}, r)
					})
				}).dial(t)
				write(conn, strings.Replace(head(postLine), fullSecret, wrongSecret, 1)+framing)
				start := time.Now()
				in := bufio.NewReader(conn)
				require.Equal(t, http.StatusUnauthorized, readResponse(t, in).status)
				require.LessOrEqual(t, time.Since(start), 20*time.Millisecond)
				time.Sleep(6 * time.Second)
				write(conn, smuggled)
				rest, _ := ends(t, in)
				require.Empty(t, rest)
				require.Equal(t, []string{eventPath}, paths)
			})
		})
	}
}

// TestDiscardIsBounded has clients that go on sending.
func TestDiscardIsBounded(t *testing.T) {
	refused := strings.Replace(head(postLine), fullSecret, wrongSecret, 1) + "Content-Length: 1000000000\r\n\r\n"
	t.Run("in time, and it is in no duration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var got []chargeingest.RequestStats
			f := newFixture(t, func(c *chargeingest.Config) {
				c.Now = time.Now
				c.Observer = func(_ context.Context, o chargeingest.RequestStats) { got = append(got, o) }
			})
			conn := f.piped(t).dial(t)
			write(conn, refused)
			in := bufio.NewReader(conn)
			require.Equal(t, http.StatusUnauthorized, readResponse(t, in).status)
			start := time.Now()
			for { // a byte a second
				time.Sleep(time.Second)
				if _, err := conn.Write([]byte("x")); err != nil {
					break
				}
			}
			require.LessOrEqual(t, time.Since(start), 6*time.Second)
			require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
			require.Len(t, got, 1)
			require.Zero(t, got[0].Duration)
		})
	})
	t.Run("in bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t, func(c *chargeingest.Config) { c.MaxDiscardBytes = 1 << 20 }).piped(t).dial(t)
			write(conn, refused)
			require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
			n, err := io.Copy(conn, strings.NewReader(strings.Repeat("x", 8<<20)))
			require.Error(t, err)
			require.GreaterOrEqual(t, n, int64(1<<20))
			require.LessOrEqual(t, n, int64(2<<20))
		})
	})
	t.Run("and holds nothing of the budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1000, 1000 })
			conn := f.piped(t).dial(t)
			write(conn, head(postLine)+"Transfer-Encoding: chunked\r\n\r\nffff\r\n"+strings.Repeat("x", 2000))
			require.Equal(t, http.StatusRequestEntityTooLarge, readResponse(t, bufio.NewReader(conn)).status)
			synctest.Wait()
			f.post(t, eventPath, padded(event(), 900)).requireStored(t)
		})
	})
}

// plainWriter is a ResponseWriter of middleware that hides what it wraps.
type plainWriter struct{ http.ResponseWriter }

// openWriter is one that does not.
type openWriter struct{ http.ResponseWriter }

func (w openWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bufferedWriter holds a response back, and can be unwrapped all the same.
type bufferedWriter struct {
	openWriter
	recorder *httptest.ResponseRecorder
}

func (w bufferedWriter) WriteHeader(status int)      { w.recorder.WriteHeader(status) }
func (w bufferedWriter) Write(p []byte) (int, error) { return w.recorder.Write(p) }

func TestRejectionBehindMiddleware(t *testing.T) {
	wrapped := func(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrap(w), r) })
		}
	}
	refused := strings.Replace(head(postLine), fullSecret, wrongSecret, 1)
	t.Run("that can be unwrapped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).piped(t, wrapped(func(w http.ResponseWriter) http.ResponseWriter { return openWriter{w} })).dial(t)
			write(conn, refused+"Content-Length: 100\r\n\r\n")
			start := time.Now()
			require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
			require.LessOrEqual(t, time.Since(start), 10*time.Millisecond)
		})
	})
	t.Run("that buffers what it wraps", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).piped(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					buffered := bufferedWriter{openWriter{w}, httptest.NewRecorder()}
					h.ServeHTTP(buffered, r)
					w.WriteHeader(buffered.recorder.Code)
					_, _ = w.Write(buffered.recorder.Body.Bytes())
				})
			}).dial(t)
			write(conn, head(postLine)+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(event()), event()))
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
		})
	})
	t.Run("that cannot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).piped(t, wrapped(func(w http.ResponseWriter) http.ResponseWriter { return plainWriter{w} })).dial(t)
			write(conn, refused+"Content-Length: 3\r\n\r\nabc")
			a := readResponse(t, bufio.NewReader(conn))
			require.Equal(t, http.StatusUnauthorized, a.status)
			require.Empty(t, a.header.Get("Connection"), "as net/http does it")
		})
	})
	t.Run("that bounds the body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).piped(t, func(h http.Handler) http.Handler { return http.MaxBytesHandler(h, 10) }).dial(t)
			write(conn, refused+"Content-Length: 100\r\n\r\n"+strings.Repeat("x", 100))
			require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
			rest, _ := io.ReadAll(conn)
			require.Empty(t, rest)
		})
	})
	t.Run("that works on after the response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t).piped(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(w, r)
					time.Sleep(time.Minute)
				})
			}).dial(t)
			write(conn, head(postLine)+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(event()), event()))
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
			time.Sleep(2 * time.Minute)
		})
	})
}

// TestShutdownDoesNotWaitForBodies has a host that shuts down while bodies are on
// their way.
func TestShutdownDoesNotWaitForBodies(t *testing.T) {
	refused := strings.Replace(head(postLine), fullSecret, wrongSecret, 1)
	for _, c := range []struct {
		name, text string
		status     int
		within     time.Duration
	}{
		{"nothing of a body", head(postLine) + "Content-Length: 100\r\n\r\n", 503, 2 * time.Second},
		{"a part of a body", head(postLine) + "Content-Length: 100\r\n\r\n{", 503, 2 * time.Second},
		{"a part of a large body", head(postLine) + "Content-Length: 100000\r\n\r\n{" + strings.Repeat(" ", 50_000), 503, 2 * time.Second},
		{"a chunk of a body", head(postLine) + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 503, 2 * time.Second},
		{"the head of gzip", head(postLine) + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + zipped(t, "{}", 9)[:10] + "\r\n", 503, 2 * time.Second},
		{"nothing of a body over HTTP/2", h2Post(eventPath, "x-api-key", fullSecret, "content-type", "application/json"), 503, 3 * time.Second},
		{"nothing of a body that is refused", refused + "Content-Length: 1000000\r\n\r\n", 401, 1500 * time.Millisecond},
		{"a chunk of a body that is refused", refused + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 401, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var observed chargeingest.RequestStats
				f := newFixture(t, func(c *chargeingest.Config) {
					c.Observer = func(_ context.Context, o chargeingest.RequestStats) { observed = o }
				})
				srv := f.piped(t)
				conn := srv.dial(t)
				write(conn, c.text)
				sent := make(chan string, 1)
				go func() {
					text, _ := io.ReadAll(conn)
					sent <- string(text)
				}()
				synctest.Wait()
				require.LessOrEqual(t, srv.shutdown(t), c.within)
				require.Equal(t, c.status, observed.Status)
				text := <-sent
				if strings.HasPrefix(text, "HTTP/1.1") {
					a := readResponse(t, bufio.NewReader(strings.NewReader(text)))
					require.Equal(t, c.status, a.status, a.text)
					require.Equal(t, c.status == 503, a.header.Get("Idempotency-Retryable") == "true")
				} else {
					require.Contains(t, text, "shutting down")
				}
				f.requireNothingStored(t)
			})
		})
	}
	t.Run("a body that goes on arriving is stored", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newFixture(t).piped(t)
			conn := srv.dial(t)
			text := head(postLine) + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(event()), event())
			_, err := io.WriteString(conn, text[:len(text)-50])
			require.NoError(t, err)
			synctest.Wait() // until the handler reads
			ended := make(chan error, 1)
			go func() { ended <- srv.Shutdown(context.WithoutCancel(t.Context())) }()
			synctest.Wait()
			write(conn, text[len(text)-50:])
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
			require.NoError(t, <-ended)
		})
	})
	t.Run("another server of the handler goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			first, second := f.piped(t), f.piped(t)
			conn := second.dial(t)
			_ = first.dial(t)
			text := head(postLine) + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(event()), event())
			_, err := io.WriteString(conn, text[:len(text)-50])
			require.NoError(t, err)
			first.shutdown(t)
			time.Sleep(20 * time.Second)
			write(conn, text[len(text)-50:])
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
		})
	})
}

// frame is a frame of HTTP/2.
func frame(kind, flags byte, stream byte, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, stream}) + payload
}

// h2Get is a GET over HTTP/2 of a client that accepts no byte of a response's body:
// its window is 0.
func h2Get(path string, headers ...string) string {
	const window, end = "\x00\x04\x00\x00\x00\x00", 1
	return h2Connection(window, end, "\x82", path, headers)
}

// h2Post is a POST over HTTP/2 whose body does not come.
func h2Post(path string, headers ...string) string { return h2Connection("", 0, "\x83", path, headers) }

func h2Connection(settings string, flags byte, method, path string, headers []string) string {
	const settingsFrame, headersFrame, endHeaders = 4, 1, 4
	block := method + "\x86\x04" + string(rune(len(path))) + path + "\x01\x01x" // http, the host x
	for i := 0; i < len(headers); i += 2 {
		block += "\x00" + string(rune(len(headers[i]))) + headers[i] + string(rune(len(headers[i+1]))) + headers[i+1]
	}
	return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		frame(settingsFrame, 0, 0, settings) + frame(headersFrame, flags|endHeaders, 1, block)
}

// TestShutdownDoesNotWaitForReaders has clients that never read their response.
func TestShutdownDoesNotWaitForReaders(t *testing.T) {
	get := func(path, secret string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + secret + "\r\n\r\n"
	}
	for _, c := range []struct {
		name, text string
		h2         bool
	}{
		{"a refusal over HTTP/1.1", get(eventPath, wrongSecret), false},
		{"a small page over HTTP/1.1", get(eventPath, otherSecret), false},
		{"a large page over HTTP/1.1", get(eventPath, fullSecret), false},
		{"a refusal over HTTP/2", h2Get(eventPath), true},
		{"a small page over HTTP/2", h2Get(eventPath, "x-api-key", otherSecret), true},
		{"a large page over HTTP/2", h2Get(eventPath, "x-api-key", fullSecret), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, keepUnknown)
				f.post(t, eventPath, largeEvent("r")).requireStored(t)
				srv := f.piped(t)
				conn := srv.dial(t)
				write(conn, c.text)
				if c.h2 {
					go func() { _, _ = io.Copy(io.Discard, conn) }()
				}
				synctest.Wait()
				require.LessOrEqual(t, srv.shutdown(t), 5*time.Second)
			})
		})
	}
}

// TestSlowReaders are not cut off while they read, and those that stop are.
func TestSlowReaders(t *testing.T) {
	page := "GET " + eventPath + " HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + fullSecret + "\r\nConnection: close\r\n\r\n"
	read := func(t *testing.T, pause time.Duration, set func(*http.Server)) (n int, took time.Duration) {
		t.Helper()
		f := newFixture(t, keepUnknown)
		f.post(t, eventPath, largeEvent("r")).requireStored(t)
		srv := f.piped(t)
		set(srv.Server)
		conn := srv.dial(t)
		write(conn, page)
		start := time.Now()
		for buf := make([]byte, 4<<10); ; {
			time.Sleep(pause)
			m, err := conn.Read(buf)
			n += m
			if err != nil {
				return n, time.Since(start)
			}
		}
	}
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, took := read(t, time.Second, func(*http.Server) {})
			require.Greater(t, n, 100_000)
			require.Greater(t, took, 20*time.Second)
		})
	})
	t.Run("behind the buffer of a socket", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			var events []string
			for i := range 40 {
				events = append(events, largeEvent(strconv.Itoa(i)))
			}
			body := batch(events...)
			f.post(t, eventsPath, body).requireStored(t)
			conn := f.piped(t).dial(t)
			write(conn, head("POST "+eventsPath+" HTTP/1.1")+fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			// It takes 2.5 MiB at once, and then more whenever a third was read, at
			// 40 kB a second.
			n, err := io.CopyN(io.Discard, conn, 5<<19)
			for err == nil {
				time.Sleep(22 * time.Second)
				var more int64
				more, err = io.CopyN(io.Discard, conn, 880_000)
				n += more
			}
			require.Greater(t, n, int64(len(body)))
		})
	})
	t.Run("too slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _ := read(t, 11*time.Second, func(*http.Server) {})
			require.Less(t, n, 10_000)
		})
	})
	t.Run("the host's WriteTimeout holds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, took := read(t, time.Second, func(s *http.Server) { s.WriteTimeout = 10 * time.Second })
			require.Less(t, n, 100_000)
			require.LessOrEqual(t, took, 12*time.Second)
		})
	})
}

// slowly serves requests with these bodies, of which one half has arrived. finish
// sends the other and returns the statuses.
func (f *fixture) slowly(t *testing.T, path string, bodies []string, declared bool, headers ...string) (finish func() []int) {
	t.Helper()
	type upload struct {
		sender *io.PipeWriter
		rest   string
		w      *httptest.ResponseRecorder
		done   chan struct{}
	}
	var uploads []upload
	for _, body := range bodies {
		arriving, sender := io.Pipe()
		u := upload{sender, body[len(body)/2:], httptest.NewRecorder(), make(chan struct{})}
		r := request(http.MethodPost, path, arriving, headers...)
		r.ContentLength = -1
		if declared {
			r.ContentLength = int64(len(body))
		}
		go func() {
			defer close(u.done)
			f.handler.ServeHTTP(u.w, r)
			_ = arriving.Close()
		}()
		_, _ = io.WriteString(sender, body[:len(body)/2]) // unless it is refused
		uploads = append(uploads, u)
	}
	synctest.Wait()
	return func() (statuses []int) {
		for _, u := range uploads {
			_, _ = io.WriteString(u.sender, u.rest)
			_ = u.sender.Close()
			<-u.done
			statuses = append(statuses, u.w.Code)
		}
		return statuses
	}
}

// TestSlowUploadReservation has sixty uploads at a time.
func TestSlowUploadReservation(t *testing.T) {
	const n = 60
	created := make([]int, n)
	for i := range created {
		created[i] = http.StatusCreated
	}
	for _, c := range []struct {
		name, path, body string
		declared         bool
		headers          []string
	}{
		{"chunked", eventPath, padded(event(), 200), false, nil},
		{"chunked batches", eventsPath, padded(batch(event(), event()), 400), false, nil},
		{"gzip of declared length", eventPath, zipped(t, event(), 9), true, []string{"Content-Encoding: gzip"}},
		{"chunked gzip batches", eventsPath, zipped(t, batch(event(), event()), 9), false, []string{"Content-Encoding: gzip"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				bodies := make([]string, n)
				for i := range bodies {
					bodies[i] = c.body
				}
				require.Equal(t, created, f.slowly(t, c.path, bodies, c.declared, c.headers...)())
			})
		})
	}
	t.Run("announced and not sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			var waiting []*io.PipeWriter
			for range n {
				arriving, sender := io.Pipe()
				r := request(http.MethodPost, eventPath, arriving)
				r.ContentLength = 4 << 20
				go f.handler.ServeHTTP(httptest.NewRecorder(), r)
				waiting = append(waiting, sender)
			}
			synctest.Wait()
			f.post(t, eventPath, padded(event(), 4<<20)).requireStored(t)
			for _, sender := range waiting {
				require.NoError(t, sender.CloseWithError(errors.New("gone")))
			}
		})
	})
	t.Run("the header of gzip holds what decompressing takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const most = 1024 // each takes a thousandth of the budget
			f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1<<20, 1<<20 })
			refused := 0
			var waiting []*io.PipeWriter
			for range most + 1 {
				arriving, sender := io.Pipe()
				r := request(http.MethodPost, eventPath, arriving, "Content-Encoding: gzip")
				w := httptest.NewRecorder()
				go func() {
					f.handler.ServeHTTP(w, r)
					if w.Code == http.StatusServiceUnavailable {
						refused++
					}
					_ = arriving.Close()
				}()
				_, _ = io.WriteString(sender, zipped(t, event(), 9)[:10])
				synctest.Wait()
				waiting = append(waiting, sender)
			}
			require.Positive(t, refused)
			f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t) // of another platform
			for _, sender := range waiting {
				require.NoError(t, sender.CloseWithError(errors.New("gone")))
			}
		})
	})
	t.Run("what has arrived is bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 100_000, 1_000_000 })
			bodies := make([]string, n)
			for i := range bodies {
				bodies[i] = padded(event(), 100_000)
			}
			finish := f.slowly(t, eventPath, bodies, true)
			f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t) // of another platform
			accepted := 0
			for _, status := range finish() {
				if status == http.StatusCreated {
					accepted++
				} else {
					require.Equal(t, http.StatusServiceUnavailable, status)
				}
			}
			require.GreaterOrEqual(t, accepted, 8)
			require.LessOrEqual(t, accepted, 20)
		})
	})
}

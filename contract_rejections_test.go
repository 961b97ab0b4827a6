package chargeingest_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

var earlyResponses = []struct {
	name     string
	settings []func(*chargeingest.Config)
	head     string
	status   int
}{
	{"401", nil, unauthorizedPost, 401},
	{"403", nil, strings.Replace(requestHead(postLine), fullSecret, viewSecret, 1), 403},
	{"404", nil, requestHead("POST /nowhere HTTP/1.1"), 404},
	{"405", nil, requestHead("PUT " + eventPath + " HTTP/1.1"), 405},
	{"413", nil, requestHead(postLine), 413},
	{"415", nil, strings.Replace(requestHead(postLine), "application/json", "text/plain", 1), 415},
	{"503 by the authorizer", []func(*chargeingest.Config){withAuthorizerError(func(*http.Request) string { return "down" })}, requestHead(postLine), 503},
	{"400 for the version", nil, requestHead("POST /v2/ingest/charge-data HTTP/1.1"), 400},
	{"200 to a GET with a body", nil, requestHead("GET " + eventPath + " HTTP/1.1"), 200},
}

// The body does not fit into the buffers of the sockets.
func TestRejectionWhileWriting(t *testing.T) {
	t.Parallel()
	body := strings.Repeat(" ", 8<<20)
	for name, framed := range map[string]string{
		"Content-Length":       fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunks":               fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
		"Expect: 100-continue": fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		"Connection: close":    fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
	} {
		for _, c := range earlyResponses {
			t.Run(c.name+" with "+name, func(t *testing.T) {
				t.Parallel()
				conn := newFixture(t, c.settings...).rawServer(t).dial(t)
				_, err := io.WriteString(conn, c.head+framed)
				require.NoError(t, err, "writing the body")
				require.Equal(t, c.status, readResponse(t, bufio.NewReader(conn)).status)
			})
		}
	}
}

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
	conn := f.rawServer(t).dial(t)
	_, err = fmt.Fprintf(conn, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", requestHead(postLine), 8<<20, strings.Repeat(" ", 8<<20))
	require.NoError(t, err, "writing the body")
	resp := readResponse(t, bufio.NewReader(conn))
	require.Equal(t, http.StatusServiceUnavailable, resp.status)
	require.Equal(t, "1", resp.header.Get("Retry-After"))
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
		_, err = io.WriteString(conn, unauthorizedPost+framing+strings.Repeat(" ", 8<<20))
		require.NoError(t, err, "writing the body")
		require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
	}
}

func TestRejectionBeforeBody(t *testing.T) {
	for name, framing := range map[string]string{
		"small": "Content-Length: 100\r\n", "large": "Content-Length: 8000000\r\n", "chunked": "Transfer-Encoding: chunked\r\n",
		"incomplete": "Content-Length: 100\r\n\r\n{", "incomplete, with one chunk": "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		for _, c := range earlyResponses {
			if c.status == 413 {
				continue
			}
			t.Run(c.name+" with a body that never arrives: "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn := newFixture(t, c.settings...).pipeServer(t).dial(t)
					writeAsync(conn, strings.TrimSuffix(c.head+framing, "{")+"\r\n")
					start := time.Now()
					in := bufio.NewReader(conn)
					resp := readResponse(t, in)
					require.Equal(t, c.status, resp.status)
					require.LessOrEqual(t, time.Since(start), 10*time.Millisecond)
					rest, after := readUntilClose(t, in)
					require.Empty(t, rest)
					require.Less(t, after, 6*time.Second) // MaxDiscardTime and 0.5 s of net/http
				})
			})
		}
	}
}

func TestUnansweredExpect(t *testing.T) {
	for _, method := range []string{"POST", "HEAD"} {
		for _, framing := range []string{
			"Content-Length: 100\r\nExpect: 100-continue\r\n", "Content-Length: 8000000\r\nExpect: 100-Continue\r\n",
			"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "Content-Length: 100\r\nExpect: 100-continue, more\r\n",
		} {
			t.Run(method+" "+framing, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn := newFixture(t).pipeServer(t).dial(t)
					writeAsync(conn, strings.Replace(requestHead(method+" "+eventPath+" HTTP/1.1"), fullSecret, wrongSecret, 1)+framing+"\r\n")
					text, after := readUntilClose(t, conn)
					require.True(t, strings.HasPrefix(text, "HTTP/1.1 401 "), text)
					require.Contains(t, text, "Connection: close\r\n")
					require.NotContains(t, text, "100 Continue")
					require.Less(t, after, time.Second)
				})
			})
		}
	}
}

func TestConnectionAfterRejection(t *testing.T) {
	t.Parallel()
	const next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
	body := strings.Repeat(next, 10)
	for _, c := range earlyResponses {
		if c.status == 413 {
			continue
		}
		t.Run(c.name+": the connection is reused after a small body that arrives with the header", func(t *testing.T) {
			t.Parallel()
			conn := newFixture(t, c.settings...).rawServer(t).dial(t)
			_, err := fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s%s", c.head, len(body), body, next)
			require.NoError(t, err)
			in := bufio.NewReader(conn)
			require.Equal(t, c.status, readResponse(t, in).status)
			require.Equal(t, http.StatusNotFound, readResponse(t, in).status)
		})
		for name, framed := range map[string]string{
			"a late small body":           fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)),
			"a late large body":           fmt.Sprintf("Content-Length: %d\r\n\r\n", 1<<20),
			"a late chunk":                fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(body)),
			"a body without 100 Continue": fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)),
			"an incomplete body":          fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*len(body)),
		} {
			t.Run(c.name+": "+name+" closes the connection", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, append(c.settings, func(c *chargeingest.Config) { c.MaxDiscardTime = 100 * time.Millisecond })...)
				conn := f.rawServer(t).dial(t)
				_, err := io.WriteString(conn, c.head+framed)
				require.NoError(t, err)
				in := bufio.NewReader(conn)
				resp := readResponse(t, in)
				require.Equal(t, c.status, resp.status)
				require.Equal(t, "close", resp.header.Get("Connection"))
				_, _ = io.WriteString(conn, body)
				rest, _ := io.ReadAll(in)
				require.Empty(t, rest, "the server parsed the body as a request")
			})
		}
	}
}

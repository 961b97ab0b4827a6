package chargeingest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestShutdownDoesNotWaitForBodies(t *testing.T) {
	for _, c := range []struct {
		name, text string
		status     int
		within     time.Duration
	}{
		{"no byte of a body", requestHead(postLine) + "Content-Length: 100\r\n\r\n", 503, 2 * time.Second},
		{"a part of a body", requestHead(postLine) + "Content-Length: 100\r\n\r\n{", 503, 2 * time.Second},
		{"a part of a large body", requestHead(postLine) + "Content-Length: 100000\r\n\r\n{" + strings.Repeat(" ", 50_000), 503, 2 * time.Second},
		{"a chunk of a body", requestHead(postLine) + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 503, 2 * time.Second},
		{"the gzip header", requestHead(postLine) + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + gzipped(t, "{}", 9)[:10] + "\r\n", 503, 2 * time.Second},
		{"no byte of a body over HTTP/2", h2Post(eventPath, "x-api-key", fullSecret, "content-type", "application/json"), 503, 3 * time.Second},
		{"no byte of the body of a rejected request", unauthorizedPost + "Content-Length: 1000000\r\n\r\n", 401, 1500 * time.Millisecond},
		{"a chunk of the body of a rejected request", unauthorizedPost + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 401, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var observed chargeingest.RequestStats
				f := newFixture(t, func(c *chargeingest.Config) {
					c.Observer = func(_ context.Context, o chargeingest.RequestStats) { observed = o }
				})
				srv := f.pipeServer(t)
				conn := srv.dial(t)
				writeAsync(conn, c.text)
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
					resp := readResponse(t, bufio.NewReader(strings.NewReader(text)))
					require.Equal(t, c.status, resp.status, resp.text)
					require.Equal(t, c.status == 503, resp.header.Get("Idempotency-Retryable") == "true")
				} else {
					require.Contains(t, text, "shutting down")
				}
				f.requireNothingStored(t)
			})
		})
	}
	t.Run("a body that continues to arrive is stored", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newFixture(t).pipeServer(t)
			conn := srv.dial(t)
			text := postText(event())
			_, err := io.WriteString(conn, text[:len(text)-50])
			require.NoError(t, err)
			synctest.Wait() // the handler reads now
			stopped := make(chan error, 1)
			go func() { stopped <- srv.Shutdown(context.WithoutCancel(t.Context())) }()
			synctest.Wait()
			writeAsync(conn, text[len(text)-50:])
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
			require.NoError(t, <-stopped)
		})
	})
	t.Run("another server with the same handler continues", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			first, second := f.pipeServer(t), f.pipeServer(t)
			conn := second.dial(t)
			_ = first.dial(t)
			text := postText(event())
			_, err := io.WriteString(conn, text[:len(text)-50])
			require.NoError(t, err)
			first.shutdown(t)
			time.Sleep(20 * time.Second)
			writeAsync(conn, text[len(text)-50:])
			require.Equal(t, http.StatusCreated, readResponse(t, bufio.NewReader(conn)).status)
		})
	})
}

func TestShutdownDoesNotWaitForReaders(t *testing.T) {
	get := func(path, secret string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + secret + "\r\n\r\n"
	}
	for _, c := range []struct {
		name, text string
		h2         bool
	}{
		{"a rejection over HTTP/1.1", get(eventPath, wrongSecret), false},
		{"a small page over HTTP/1.1", get(eventPath, otherSecret), false},
		{"a large page over HTTP/1.1", get(eventPath, fullSecret), false},
		{"a rejection over HTTP/2", h2Get(eventPath), true},
		{"a small page over HTTP/2", h2Get(eventPath, "x-api-key", otherSecret), true},
		{"a large page over HTTP/2", h2Get(eventPath, "x-api-key", fullSecret), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, keepUnknown)
				f.post(t, eventPath, largeEvent("r")).requireStored(t)
				srv := f.pipeServer(t)
				conn := srv.dial(t)
				writeAsync(conn, c.text)
				if c.h2 {
					go func() { _, _ = io.Copy(io.Discard, conn) }()
				}
				synctest.Wait()
				require.LessOrEqual(t, srv.shutdown(t), 5*time.Second)
			})
		})
	}
}

func TestSlowReaders(t *testing.T) {
	page := "GET " + eventPath + " HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + fullSecret + "\r\nConnection: close\r\n\r\n"
	read := func(t *testing.T, pause time.Duration, set func(*http.Server)) (n int, took time.Duration) {
		t.Helper()
		f := newFixture(t, keepUnknown)
		f.post(t, eventPath, largeEvent("r")).requireStored(t)
		srv := f.pipeServer(t)
		set(srv.Server)
		conn := srv.dial(t)
		writeAsync(conn, page)
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
	t.Run("a slow client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, took := read(t, time.Second, func(*http.Server) {})
			require.Greater(t, n, 100_000)
			require.Greater(t, took, 20*time.Second)
		})
	})
	t.Run("a slow client with a large socket buffer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			var events []string
			for i := range 40 {
				events = append(events, largeEvent(strconv.Itoa(i)))
			}
			body := batch(events...)
			f.post(t, eventsPath, body).requireStored(t)
			conn := f.pipeServer(t).dial(t)
			writeAsync(conn, requestHead("POST "+eventsPath+" HTTP/1.1")+fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			// 2.5 MiB at once, and then 40 kB per second.
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
	t.Run("a client that reads too slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _ := read(t, 11*time.Second, func(*http.Server) {})
			require.Less(t, n, 10_000)
		})
	})
	t.Run("WriteTimeout of the server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, took := read(t, time.Second, func(s *http.Server) { s.WriteTimeout = 10 * time.Second })
			require.Less(t, n, 100_000)
			require.LessOrEqual(t, took, 12*time.Second)
		})
	})
}

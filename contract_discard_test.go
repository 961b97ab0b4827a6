package chargeingest_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestDiscardIsBounded(t *testing.T) {
	rejected := unauthorizedPost + "Content-Length: 1000000000\r\n\r\n"
	t.Run("MaxDiscardTime, which is not part of the duration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var got []chargeingest.RequestStats
			f := newFixture(t, func(c *chargeingest.Config) {
				c.Now = time.Now
				c.Observer = func(_ context.Context, o chargeingest.RequestStats) { got = append(got, o) }
			})
			conn := f.pipeServer(t).dial(t)
			writeAsync(conn, rejected)
			in := bufio.NewReader(conn)
			require.Equal(t, http.StatusUnauthorized, readResponse(t, in).status)
			start := time.Now()
			for {
				time.Sleep(time.Second)
				if _, err := conn.Write([]byte("x")); err != nil {
					break
				}
			}
			require.LessOrEqual(t, time.Since(start), 6*time.Second)
			require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
			require.Len(t, got, 1)
			require.Zero(t, got[0].Duration)
			require.True(t, got[0].BodyDiscarded)
		})
	})
	t.Run("MaxDiscardBytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := newFixture(t, func(c *chargeingest.Config) { c.MaxDiscardBytes = 1 << 20 }).pipeServer(t).dial(t)
			writeAsync(conn, rejected)
			require.Equal(t, http.StatusUnauthorized, readResponse(t, bufio.NewReader(conn)).status)
			n, err := io.Copy(conn, strings.NewReader(strings.Repeat("x", 8<<20)))
			require.Error(t, err)
			require.GreaterOrEqual(t, n, int64(1<<20))
			require.LessOrEqual(t, n, int64(2<<20))
		})
	})
	t.Run("discarding reserves no memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1000, 1000 })
			conn := f.pipeServer(t).dial(t)
			writeAsync(conn, requestHead(postLine)+"Transfer-Encoding: chunked\r\n\r\nffff\r\n"+strings.Repeat("x", 2000))
			require.Equal(t, http.StatusRequestEntityTooLarge, readResponse(t, bufio.NewReader(conn)).status)
			synctest.Wait()
			f.post(t, eventPath, padded(event(), 900)).requireStored(t)
		})
	})
}

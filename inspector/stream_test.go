package inspector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

type streamWriter struct {
	*httptest.ResponseRecorder
	start time.Time
	mu    sync.Mutex
	lines []string
	err   error

	readDeadline, writeDeadline time.Time
}

func (w *streamWriter) SetReadDeadline(d time.Time) error {
	w.readDeadline = d
	return nil
}

func (w *streamWriter) SetWriteDeadline(d time.Time) error {
	w.writeDeadline = d
	return nil
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf("%v %s", time.Since(w.start), p[:len(p)-1]))
	return len(p), w.err
}

func (w *streamWriter) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

func openStream(t *testing.T, i *Inspector, key string) (w *streamWriter, cancel func(), ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequest(http.MethodGet, "/api/stream", nil).WithContext(ctx)
	r.Header.Set("X-Api-Key", key)
	w = &streamWriter{ResponseRecorder: httptest.NewRecorder(), start: time.Now(), readDeadline: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.ServeHTTP(w, r)
	}()
	synctest.Wait()
	return w, cancel, done
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, nil)
		w, cancel, ended := openStream(t, i, "ada")
		require.Equal(t, []string{`0s {"newest":0}`}, w.take())
		require.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
		require.Equal(t, "no", w.Header().Get("X-Accel-Buffering"))
		require.Zero(t, w.readDeadline, "the server's ReadTimeout would end the stream")

		var id int64
		for range 3 {
			id = addRecord(i, nil)
			time.Sleep(100 * time.Millisecond)
		}
		addRecord(i, func(r *record) { r.stats.Platform = "b" })
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{fmt.Sprintf(`500ms {"newest":%d}`, id)}, w.take(), "one line for three requests, none for another platform")

		id = addRecord(i, nil)
		synctest.Wait()
		require.Equal(t, []string{fmt.Sprintf(`10.3s {"newest":%d}`, id)}, w.take(), "at once after a pause")

		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"25.3s ", "40.3s "}, w.take(), "heartbeats")
		require.Equal(t, 40300*time.Millisecond+streamTimeout, w.writeDeadline.Sub(w.start))

		cancel()
		synctest.Wait()
		require.True(t, isClosed(ended))
	})
}

func TestStreamReauthorization(t *testing.T) {
	for name, after := range map[string]func() (chargeingest.Principal, error){
		"a revoked key": func() (chargeingest.Principal, error) {
			return chargeingest.Principal{}, chargeingest.ErrInvalidCredential
		},
		"a failure":        func() (chargeingest.Principal, error) { return chargeingest.Principal{}, errors.New("down") },
		"a panic":          func() (chargeingest.Principal, error) { panic("bug") },
		"another platform": func() (chargeingest.Principal, error) { return chargeingest.Principal{Platforms: []string{"b"}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var revoked atomic.Bool
				i := newViewed(t, func(cfg *Config) {
					cfg.Authorizer = chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
						if revoked.Load() {
							return after()
						}
						return chargeingest.Principal{Platforms: []string{"a"}}, nil
					})
				})
				w, cancel, ended := openStream(t, i, "ada")
				defer cancel()
				time.Sleep(2*time.Minute + time.Second)
				require.False(t, isClosed(ended))
				revoked.Store(true)
				time.Sleep(time.Minute)
				synctest.Wait()
				require.True(t, isClosed(ended))
				require.Equal(t, http.StatusOK, w.Code)
				require.Zero(t, i.api.streams.open)
			})
		})
	}
}

func TestStreamBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, func(cfg *Config) { cfg.MaxStreams = 8 })
		var cancels []func()
		open := func(key string, n int) {
			for range n {
				w, cancel, ended := openStream(t, i, key)
				require.False(t, isClosed(ended), w.Body)
				cancels = append(cancels, cancel)
			}
		}
		refused := func(key string) {
			w := call{key: key}.do(i, "api/stream")
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.Equal(t, "60", w.Header().Get("Retry-After"))
			require.Contains(t, w.Body.String(), `"code":"INTERNAL_ERROR"`)
		}
		open("ada", 6)
		refused("ada")
		open("bob", 2)
		refused("bob")
		require.Equal(t, http.StatusOK, call{key: "ada", method: http.MethodHead}.do(i, "api/stream").Code)
		cancels[0]()
		synctest.Wait()
		open("ada", 1)
		refused("ada")
		for _, cancel := range cancels {
			cancel()
		}
	})
}

func TestStreamOfSingleSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, func(cfg *Config) { cfg.MaxStreams = 1 })
		_, cancel, ended := openStream(t, i, "ada")
		require.False(t, isClosed(ended))
		cancel()
	})
}

func TestStreamToBrokenClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newViewed(t, nil)
		w, cancel, ended := openStream(t, i, "ada")
		defer cancel()
		w.mu.Lock()
		w.err = errors.New("write deadline")
		w.mu.Unlock()
		time.Sleep(heartbeat)
		synctest.Wait()
		require.True(t, isClosed(ended))
	})
	t.Run("without flush", func(t *testing.T) {
		type plainWriter struct{ http.ResponseWriter }
		i := newViewed(t, nil)
		r := httptest.NewRequest(http.MethodGet, "/api/stream", nil)
		r.Header.Set("X-Api-Key", "ada")
		w := httptest.NewRecorder()
		i.ServeHTTP(plainWriter{w}, r)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Empty(t, w.Header().Get("Connection"))
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Zero(t, i.api.streams.open)
	})
}

func TestStreamOnServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		http2 bool
		end   func(*http.Server) error
	}{
		{"shutdown", false, func(s *http.Server) error { return s.Shutdown(context.Background()) }},
		{"shutdown with HTTP/2", true, func(s *http.Server) error { return s.Shutdown(context.Background()) }},
		{"close", false, (*http.Server).Close},
		{"close with HTTP/2", true, (*http.Server).Close},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := newViewed(t, nil)
			mux := http.NewServeMux()
			mux.Handle("/{version}/inspector/", http.StripPrefix("/v7/inspector", i))
			server := httptest.NewUnstartedServer(mux)
			server.EnableHTTP2 = c.http2
			if c.http2 {
				server.StartTLS()
			} else {
				server.Config.WriteTimeout = time.Nanosecond
				server.Start()
			}
			t.Cleanup(server.Close)
			r, err := http.NewRequest(http.MethodGet, server.URL+"/v7/inspector/api/stream", nil)
			require.NoError(t, err)
			r.Header.Set("X-Api-Key", "ada")
			resp, err := server.Client().Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			require.True(t, lines.Scan())
			require.Equal(t, `{"newest":0}`, lines.Text())
			id := addRecord(i, nil)
			require.True(t, lines.Scan())
			require.Equal(t, fmt.Sprintf(`{"newest":%d}`, id), lines.Text())
			require.NoError(t, c.end(server.Config))
			require.False(t, lines.Scan())
			require.Eventually(t, func() bool {
				i.api.streams.mu.Lock()
				defer i.api.streams.mu.Unlock()
				return i.api.streams.open == 0
			}, 10*time.Second, time.Millisecond)
		})
	}
}

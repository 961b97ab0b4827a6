package chargeingest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func (f *fixture) startUploads(t *testing.T, path string, bodies []string, declared bool, headers ...string) (finish func() []int) {
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
		_, _ = io.WriteString(sender, body[:len(body)/2])
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
		{"gzip with Content-Length", eventPath, gzipped(t, event(), 9), true, []string{"Content-Encoding: gzip"}},
		{"chunked gzip batches", eventsPath, gzipped(t, batch(event(), event()), 9), false, []string{"Content-Encoding: gzip"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				bodies := make([]string, n)
				for i := range bodies {
					bodies[i] = c.body
				}
				require.Equal(t, created, f.startUploads(t, c.path, bodies, c.declared, c.headers...)())
			})
		})
	}
	t.Run("bodies that never arrive reserve nothing", func(t *testing.T) {
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
	t.Run("a gzip header reserves the memory of decompression", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const maxReaders = 1024 // each reserves 1/1000 of the budget
			f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1<<20, 1<<20 })
			rejected := 0
			var waiting []*io.PipeWriter
			for range maxReaders + 1 {
				arriving, sender := io.Pipe()
				r := request(http.MethodPost, eventPath, arriving, "Content-Encoding: gzip")
				w := httptest.NewRecorder()
				go func() {
					f.handler.ServeHTTP(w, r)
					if w.Code == http.StatusServiceUnavailable {
						rejected++
					}
					_ = arriving.Close()
				}()
				_, _ = io.WriteString(sender, gzipped(t, event(), 9)[:10])
				synctest.Wait()
				waiting = append(waiting, sender)
			}
			require.Positive(t, rejected)
			f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)
			for _, sender := range waiting {
				require.NoError(t, sender.CloseWithError(errors.New("gone")))
			}
		})
	})
	t.Run("received bytes are limited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 100_000, 1_000_000 })
			bodies := make([]string, n)
			for i := range bodies {
				bodies[i] = padded(event(), 100_000)
			}
			finish := f.startUploads(t, eventPath, bodies, true)
			f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)
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

func TestMaxInFlightBytes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 1000, 2200 })
	type upload struct {
		sender *io.PipeWriter
		w      *httptest.ResponseRecorder
		done   chan struct{}
	}
	body := padded(event(), 950)
	arrive := func() upload {
		arriving, sender := io.Pipe()
		u := upload{sender, httptest.NewRecorder(), make(chan struct{})}
		r := request(http.MethodPost, eventPath, arriving)
		go func() {
			defer close(u.done)
			f.handler.ServeHTTP(u.w, r)
			_ = arriving.Close()
		}()
		_, _ = io.WriteString(sender, body[:900])
		_, _ = io.WriteString(sender, body[900:901]) // the first 900 bytes are reserved now
		return u
	}
	first, second := arrive(), arrive()
	f.post(t, eventPath, event()).requireStored(t)
	f.post(t, eventPath, padded(event(), 300)).requireRetryable(t, true)
	require.Equal(t, http.StatusOK, f.get(t, eventPath, "X-API-KEY: "+otherSecret).status)

	for _, u := range []upload{first, second} {
		_, err := io.WriteString(u.sender, body[901:])
		require.NoError(t, err)
		require.NoError(t, u.sender.Close())
		<-u.done
		require.Equal(t, http.StatusCreated, u.w.Code, u.w.Body)
	}
	require.Len(t, f.list(t, "pf_a"), 3)

	t.Run("bytes are released on success and on failure", func(t *testing.T) {
		for i := range 5 {
			for _, body := range []string{padded(event(), 1000), padded("{", 1000), padded("", 1001)} {
				require.NotEqual(t, http.StatusServiceUnavailable, f.post(t, eventPath, body).status, i)
			}
		}
	})
}

func TestChunkedBodyReservation(t *testing.T) {
	store := newBlockingStore()
	h, err := chargeingest.New(chargeingest.Config{
		Store: store, Authorizer: allowAll, MaxBodyBytes: 1000, MaxInFlightBytes: 1500,
	})
	require.NoError(t, err)
	status := make(chan int, 2)
	for i := range 2 {
		go func() {
			body := strings.Replace(observedEvent, `"r"`, fmt.Sprintf(`"r%d"`, i), 1)
			r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", io.MultiReader(strings.NewReader(body)))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			status <- w.Code
		}()
		<-store.entered // only the received bytes are reserved now
	}
	close(store.free)
	require.Equal(t, http.StatusCreated, <-status)
	require.Equal(t, http.StatusCreated, <-status)
}

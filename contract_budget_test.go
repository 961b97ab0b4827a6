package chargeingest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

type stalledWriter struct {
	*httptest.ResponseRecorder
	reads chan struct{}
}

func (w *stalledWriter) Write(p []byte) (int, error) {
	<-w.reads
	return w.ResponseRecorder.Write(p)
}

// WriteString of the recorder does not block.
func (w *stalledWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (f *fixture) serveStalled(t *testing.T, n int, newRequest func() *http.Request) (responses []*stalledWriter, read func()) {
	reads, done := make(chan struct{}), make(chan struct{})
	for range n {
		w := &stalledWriter{httptest.NewRecorder(), reads}
		responses = append(responses, w)
		r := newRequest()
		go func() {
			f.handler.ServeHTTP(w, r)
			done <- struct{}{}
		}()
	}
	synctest.Wait()
	return responses, func() {
		close(reads)
		for range n {
			<-done
		}
	}
}

func TestResponseBudget(t *testing.T) {
	settings := func(c *chargeingest.Config) {
		c.KeepUnknownFields = true
		c.MaxBodyBytes, c.MaxInFlightBytes = 150_000, 1_000_000
	}
	for name, path := range map[string]func(id string) string{
		"pages":         func(string) string { return eventPath },
		"single events": func(id string) string { return eventPath + "/" + id },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, settings)
				id := f.post(t, eventPath, largeEvent("r")).requireStored(t)["id"].(string)
				f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)

				responses, read := f.serveStalled(t, 20, func() *http.Request { return request(http.MethodGet, path(id), nil) })
				waiting := 0
				for _, w := range responses {
					if w.Code == http.StatusOK {
						waiting++
					}
				}
				// Rejected requests block too, but their status is set.
				require.Equal(t, 8, waiting, "a platform gets seven eighths of 1 MB")
				require.Equal(t, http.StatusOK, f.get(t, eventPath, "X-API-KEY: "+otherSecret).status, "another platform")
				f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)

				read()
				for _, w := range responses {
					if w.Code != http.StatusOK {
						checkedResponse(t, request(http.MethodGet, eventPath, nil), w.ResponseRecorder).requireRetryable(t, true)
					}
				}
				require.Equal(t, http.StatusOK, f.get(t, path(id)).status, "after the clients have read")
			})
		})
	}
}

func TestReplayBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, returnOriginal, func(c *chargeingest.Config) {
			c.KeepUnknownFields = true
			c.MaxBodyBytes, c.MaxInFlightBytes = 150_000, 1_000_000
		})
		f.post(t, eventPath, largeEvent("r")).requireStored(t)
		small := func() *http.Request {
			return request(http.MethodPost, eventPath, strings.NewReader(event(`"reference":"r"`)))
		}
		responses, read := f.serveStalled(t, 20, small)
		replayed := 0
		for _, w := range responses {
			if w.Code == http.StatusCreated {
				replayed++
			}
		}
		require.Equal(t, 8, replayed)
		f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)
		read()
		for _, w := range responses {
			if w.Code != http.StatusCreated {
				checkedResponse(t, small(), w.ResponseRecorder).requireRetryable(t, true)
			}
		}
		require.Len(t, f.list(t, "pf_a"), 1, "each event is stored once")
		require.Equal(t, http.StatusCreated, responseOf(t, f.handler, small()).status, "after the clients have read")
	})
}

// Null equals absent, so each small event replays the large one.
func TestEqualReplaysAreBounded(t *testing.T) {
	large := event(`"reference":"r"`, nullFields(1_000_000))
	small := event(`"reference":"r"`, `"x":{}`)
	small20 := strings.Split(strings.Repeat(small+"\n", 20), "\n")[:20]
	for name, send := range map[string]func(*testing.T, *fixture) response{
		"of a stored event": func(t *testing.T, f *fixture) response {
			f.post(t, eventPath, large).requireStored(t)
			return f.post(t, eventsPath, batch(small20...))
		},
		"of an event of the batch": func(t *testing.T, f *fixture) response {
			return f.post(t, eventsPath, batch(append([]string{large}, small20...)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			resp := send(t, f)
			resp.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
		})
	}
	t.Run("a single large event is returned", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		first := f.post(t, eventPath, large)
		first.requireStored(t)
		f.post(t, eventPath, small).requireReplayOf(t, first)
	})
}

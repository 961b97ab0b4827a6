package chargeingest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

// unreadResponse is the ResponseWriter of a client that does not read: Write
// waits until the client reads.
type unreadResponse struct {
	*httptest.ResponseRecorder
	reads chan struct{}
}

func (w *unreadResponse) Write(p []byte) (int, error) {
	<-w.reads
	return w.ResponseRecorder.Write(p)
}

// WriteString implements [io.StringWriter], which the recorder has as well.
func (w *unreadResponse) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// unread serves requests whose clients do not read before read is called.
func (f *fixture) unread(t *testing.T, n int, newRequest func() *http.Request) (responses []*unreadResponse, read func()) {
	reads, done := make(chan struct{}), make(chan struct{})
	for range n {
		w := &unreadResponse{httptest.NewRecorder(), reads}
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

// largeEvent has 100 kB of content.
func largeEvent(reference string) string {
	return event(`"reference":"`+reference+`"`, `"x":"`+strings.Repeat("x", 100_000)+`"`)
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

				responses, read := f.unread(t, 20, func() *http.Request { return request(http.MethodGet, path(id), nil) })
				waiting := 0
				for _, w := range responses {
					if w.Code == http.StatusOK {
						waiting++
					}
				}
				// The refused ones wait for their readers as well: their status is set.
				require.Equal(t, 8, waiting, "of a megabyte a platform gets seven eighths")
				require.Equal(t, http.StatusOK, f.get(t, eventPath, "X-API-KEY: "+otherSecret).status, "another platform")
				f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t)

				read()
				for _, w := range responses {
					if w.Code != http.StatusOK {
						checkedResponse(t, request(http.MethodGet, eventPath, nil), w.ResponseRecorder).requireRetryable(t, true)
					}
				}
				require.Equal(t, http.StatusOK, f.get(t, path(id)).status, "once they have read")
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
		responses, read := f.unread(t, 20, small)
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
		require.Len(t, f.list(t, "pf_a"), 1, "nothing was stored twice")
		require.Equal(t, http.StatusCreated, responseOf(t, f.handler, small()).status, "once they have read")
	})
}

// nulls is a field that counts as absent, of n bytes or a few more.
func nulls(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `,"n%d":null`, i)
	}
	return `"x":{` + b.String()[1:] + `}`
}

// A batch whose events all equal a large one, since null equals absent, would
// return it as often as it has events.
func TestEqualReplaysAreBounded(t *testing.T) {
	large := event(`"reference":"r"`, nulls(1_000_000))
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
			a := send(t, f)
			a.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
		})
	}
	t.Run("one at a time is returned", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		first := f.post(t, eventPath, large)
		first.requireStored(t)
		f.post(t, eventPath, small).requireReplayOf(t, first)
	})
}

// An idempotency key is for what was sent under it. Under ReturnOriginal that is not
// always what was returned.
func TestKeyComparesSentContent(t *testing.T) {
	f := newFixture(t, returnOriginal, keepUnknown)
	original := event(`"reference":"r"`, `"description":"first"`)
	f.post(t, eventPath, original).requireStored(t)
	sent := event(`"reference":"r"`, `"description":"second"`, `"a":1`, `"b":2`)
	first := f.post(t, eventPath, sent, "Idempotency-Key: k")
	require.Equal(t, "first", first.body["description"], "the original is returned")

	f.post(t, eventPath, sent, "Idempotency-Key: k").requireReplayOf(t, first)
	reordered := event(`"reference":"r"`, `"description":"second"`, `"b":2`, `"a":1`)
	f.post(t, eventPath, reordered, "Idempotency-Key: k").requireReplayOf(t, first)
	f.post(t, eventPath, original, "Idempotency-Key: k").
		requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
	require.Equal(t, http.StatusCreated, f.post(t, eventPath, original, "Idempotency-Key: other").status)
}

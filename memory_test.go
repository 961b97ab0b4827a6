package chargeingest_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

// Frameworks on fasthttp write the next request over the memory of one that was
// answered.
func TestRequestMemoryIsNotKept(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) chargeingest.EventStore{
		"memstore": func(*testing.T) chargeingest.EventStore { return memstore.New() },
		"sqlitestore": func(t *testing.T) chargeingest.EventStore {
			s, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "charges.db"))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, over(open(t)))
			send := func(text, header, value string) response {
				memory := []byte(value)
				r := request(http.MethodPost, eventPath, strings.NewReader(text))
				r.Header[header] = []string{unsafe.String(&memory[0], len(memory))}
				defer clear(memory)
				return responseOf(t, f.handler, r)
			}
			for _, c := range []struct{ text, header, value string }{
				{event(), "Idempotency-Key", "key-1"},
				{event(`"reference":"a"`), "X-Platform-Id", "pf_b"},
			} {
				first := send(c.text, c.header, c.value)
				first.requireStored(t)
				send(c.text, c.header, c.value).requireReplayOf(t, first)
			}
			require.Len(t, f.list(t, "pf_a"), 1)
			require.Len(t, f.list(t, "pf_b"), 1)
		})
	}
}

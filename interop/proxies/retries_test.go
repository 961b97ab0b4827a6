//go:build proxies && linux

package proxies_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxies that repeat POSTs store events without a reference or key twice.
func TestLostResponses(t *testing.T) {
	for name, c := range map[string]struct {
		proxy   proxy
		repeats bool
	}{
		"nginx":                             {nginx(), false},
		"nginx with two servers":            {nginx(twoServers...), false},
		"nginx of one directive":            {plainNginx(""), false},
		"haproxy":                           {haproxy(), false},
		"nginx with non_idempotent":         {repeatingNginx, true},
		"the same without buffers":          {nginx(append(twoServers, "error timeout;", "error timeout non_idempotent;")...), true},
		"haproxy with all-retryable-errors": {repeatingHAProxy, true},
		"haproxy with empty-response":       {haproxy("retry-on conn-failure", "retry-on empty-response"), true},
	} {
		for _, e := range []struct {
			name, event string
			headers     []string
			identified  bool
		}{
			{"an event without a reference", event("null"), nil, false},
			{"an event with a reference", event(`"a"`), nil, true},
			{"a request with a key", event("null"), []string{"Idempotency-Key", "a"}, true},
		} {
			t.Run(name+", "+e.name, func(t *testing.T) {
				s := startServer(t)
				r := startRelay(t, s.address)
				address := c.proxy(t, r.address)
				r.loseNext()
				got := post(t, address, e.event, e.headers...)
				_, requests := r.seen()
				switch {
				case !c.repeats:
					require.Equal(t, http.StatusBadGateway, got.status)
					require.Len(t, requests, 1)
					require.Len(t, events(t, s.address), 1)
					got = post(t, address, e.event, e.headers...)
				case e.identified:
					require.Len(t, requests, 2)
				}
				require.Equal(t, http.StatusCreated, got.status, got.body)
				if e.identified {
					require.Equal(t, "true", got.header.Get("Idempotent-Replayed"))
					require.Len(t, events(t, s.address), 1)
				} else {
					require.Empty(t, got.header.Get("Idempotent-Replayed"))
					require.Len(t, events(t, s.address), 2)
				}
			})
		}
	}
}

package chargeingest_test

import (
	"net/http"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Frameworks on fasthttp write the next request over the memory of one that was
// answered.
func TestWhatIsKeptOfARequestIsNotItsMemory(t *testing.T) {
	f := newFixture(t)
	var memory [][]byte
	volatile := func(s string) string {
		b := []byte(s)
		memory = append(memory, b)
		return unsafe.String(&b[0], len(b))
	}
	send := func(text string) answer {
		r := request(http.MethodPost, eventPath, strings.NewReader(text))
		r.Header["X-Platform-Id"] = []string{volatile("pf_b")}
		r.Header["Idempotency-Key"] = []string{volatile("key-1")}
		a := answerOf(t, f.handler, r)
		for _, b := range memory {
			clear(b)
		}
		return a
	}
	first := send(event())
	first.requireStored(t)
	send(event()).requireReplayOf(t, first)
	require.Len(t, f.list(t, "pf_b"), 1)
}

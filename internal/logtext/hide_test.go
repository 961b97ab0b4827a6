package logtext_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/logtext"
)

// The tail of a secret that begins more than 256 bytes before the end of another
// one, and goes on beyond it.
func TestOverlappingLongSecrets(t *testing.T) {
	first, shared, tail := strings.Repeat("1", 100), strings.Repeat("2", 300), strings.Repeat("3", 100)
	secrets := logtext.NewSecrets([]string{first + shared, shared + tail})
	require.NotContains(t, secrets.Hide("key "+first+shared+tail+".", 1000), "333")
}

// TestHideIsLinear compares times, with a wide margin: the only cost here is
// comparing bytes, which nothing counts.
func TestHideIsLinear(t *testing.T) {
	cost := func(n int) float64 {
		secrets := []string{"aaaa"}
		for k := range 4 {
			secrets = append(secrets, strings.Repeat("a", n/4-k-2)+"-")
		}
		s := logtext.NewSecrets(secrets)
		text := strings.Repeat("a", n)
		best := 0.0
		for range 3 {
			r := testing.Benchmark(func(b *testing.B) {
				for range b.N {
					s.Hide(text, 1536)
				}
			})
			if took := float64(r.NsPerOp()); best == 0 || took < best {
				best = took
			}
		}
		return best
	}
	small, large := cost(8<<10), cost(64<<10)
	t.Logf("8 KB take %.2f ms, 64 KB %.2f ms", small/1e6, large/1e6)
	require.Less(t, large/small, 24.0, "eight times the size")
}

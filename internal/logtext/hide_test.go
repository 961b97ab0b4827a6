package logtext

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHideOverlappingSecrets(t *testing.T) {
	first, shared, tail := strings.Repeat("1", 100), strings.Repeat("2", 300), strings.Repeat("3", 100)
	secrets := NewSecrets([]string{first + shared, shared + tail})
	require.Equal(t, "key [redacted].", secrets.Hide("key "+first+shared+tail+".", 1000))
}

func TestPatternLength(t *testing.T) {
	for _, secrets := range hostileSecrets() {
		total := 0
		for _, secret := range secrets {
			total += len(secret)
		}
		s := NewSecrets(secrets)
		require.LessOrEqual(t, len(s.patterns), total/maxPattern+len(secrets))
		for i, pattern := range s.patterns {
			require.GreaterOrEqual(t, len(pattern), MinSecret)
			require.LessOrEqual(t, len(pattern), maxPattern)
			chain := 0
			for j := int(s.prefix[i]); j >= 0; j = int(s.prefix[j]) {
				chain++
			}
			require.LessOrEqual(t, chain, maxPattern-MinSecret)
		}
	}
}

func hostileSecrets() map[string][]string {
	long, nested := []string{"aaaa"}, []string(nil)
	for k := range 4 {
		long = append(long, strings.Repeat("a", 16<<10-k-2)+"-")
	}
	for n := MinSecret; n < 300; n++ {
		nested = append(nested, strings.Repeat("a", n), strings.Repeat("a", n)+"-")
	}
	return map[string][]string{"long": long, "nested": nested}
}

func BenchmarkHide(b *testing.B) {
	for name, secrets := range hostileSecrets() {
		for _, kilobytes := range []int{8, 64} {
			b.Run(fmt.Sprintf("%s, %d KB", name, kilobytes), func(b *testing.B) {
				s := NewSecrets(secrets)
				text := strings.Repeat("a", kilobytes<<10)
				for b.Loop() {
					s.Hide(text, 1536)
				}
			})
		}
	}
}

func TestHideInLongText(t *testing.T) {
	secret := strings.Repeat("Ab-", 20)
	s := NewSecrets([]string{secret, "ab-ab-x"})
	require.Equal(t, "[redacted].", s.Hide(strings.Repeat(secret, 40)+".", 100))
	for before := range 2 * len(window{}.buf) {
		dots := strings.Repeat(".", before)
		require.Equal(t, dots+"[redacted]!", s.Hide(dots+secret+"!", 1<<20))
	}
}

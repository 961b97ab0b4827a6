package redact

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func hostileHeaders(unit string) http.Header {
	h := http.Header{}
	for i, name := range CredentialHeaders {
		h[name] = []string{strings.Repeat(unit, MaxHeaderBytes/len(unit)-2) + fmt.Sprint(i)}
	}
	return h
}

var hostileUnits = map[string]string{
	"letters": "aaaaaaaa", "HTML": "<", "quotes": `"`, "escapes": "%01", "words": "ab<d;", "pieces": "abcdefg%.", "pairs": "a=bcdefgh;",
}

func TestSecretsAreBounded(t *testing.T) {
	t.Parallel()
	for name, unit := range hostileUnits {
		t.Run(name, func(t *testing.T) {
			c := newCredentials()
			h := hostileHeaders(unit)
			for _, name := range CredentialHeaders {
				c.addHeader(name, h[name])
			}
			size := 0
			for _, form := range c.forms {
				size += len(form) + formOverhead
			}
			require.LessOrEqual(t, size, maxFormBytes)
			t.Logf("%d forms, %d KB, complete: %t", len(c.forms), size>>10, c.complete)
		})
	}
}

func BenchmarkRedact(b *testing.B) {
	for name, unit := range hostileUnits {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			h, text := hostileHeaders(unit), strings.Repeat(unit, 64<<10/len(unit))
			for b.Loop() {
				New(h).ClientText(text)
			}
		})
	}
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		h := http.Header{"X-Api-Key": {"0123456789abcdef0123456789abcdef"}}
		for b.Loop() {
			New(h).ClientText("no such key")
		}
	})
}

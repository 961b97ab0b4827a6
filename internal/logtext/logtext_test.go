package logtext_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/logtext"
)

func TestHide(t *testing.T) {
	const maxBytes = 100
	for _, c := range []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"no secret", nil, "no such key", "no such key"},
		{"an empty secret", []string{""}, "no such key", "no such key"},
		{"one secret", []string{"abcd"}, "no key abcd here", "no key [redacted] here"},
		{"at both ends", []string{"abcd"}, "abcd and abcd", "[redacted] and [redacted]"},
		{"adjacent secrets", []string{"abcd", "efgh"}, "key abcdefghabcd.", "key [redacted]."},
		{"different case", []string{"abCD-É"}, "key ABcd-É and abcd-é.", "key [redacted] and abcd-é."},
		{"shorter than a secret", []string{"abc"}, "key abc.", "key abc."},
		{"the end of a truncated text", []string{"abcdefgh"}, "key abcde…", "key [redacted]…"},
		{"an end that is too short", []string{"abcdefgh"}, "key abc…", "key abc…"},
		{"a secret with an ellipsis", []string{"abc…"}, "key abc…", "key [redacted]"},
		{"a truncated long secret", []string{strings.Repeat("0123456789", 20)}, "key " + strings.Repeat("0123456789", 15) + "…", "key [redacted]…"},
		{"the whole text", []string{"abcd"}, "abcd", "[redacted]"},
		{"the longest of several", []string{"abcd", "abcdefgh", "abcdef"}, "key abcdefgh.", "key [redacted]."},
		{"a shorter secret if the longer does not match", []string{"abcd", "abcdefgh"}, "key abcdefgi.", "key [redacted]efgi."},
		{"a prefix several patterns before", []string{"abcd", "abcda", "abcdb", "abcdba"}, "key abcdbb.", "key [redacted]b."},
		{"a secret within a longer one", []string{"cdef", "abcdefgh"}, "key abcdefgh.", "key [redacted]."},
		{"overlapping secrets", []string{"abcdef", "defghi"}, "key abcdefghi.", "key [redacted]."},
		{"parts of the marker", []string{"cred", "reda", "cted", "[redacted]"}, "no cred", "no [redacted]"},
		{"a prefix of a secret is kept", []string{"abcdefgh"}, "abcd", "abcd"},
		{"a secret that is longer than the text", []string{strings.Repeat("a", 1000)}, "aaaa", "aaaa"},
		{"a secret across maxBytes", []string{"abcdefgh"}, strings.Repeat("x", 80) + "abcdefgh", strings.Repeat("x", 80) + "…"},
		{"a secret longer than maxBytes", []string{strings.Repeat("a", 1000)}, "key " + strings.Repeat("a", 1000) + " is bad", "key [redacted] is bad"},
		{"a repeated secret", []string{strings.Repeat("ab", 100)}, strings.Repeat("ab", 1000) + ".", "[redacted]."},
		{"invalid UTF-8", nil, "a\xffb", "a\ufffdb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, logtext.NewSecrets(c.secrets).Hide(c.text, maxBytes))
		})
	}
}

func TestBound(t *testing.T) {
	const maxBytes = 1000
	for name, piece := range map[string]string{
		"letters": "a", "quotes": `"`, "backslashes": `\`, "line breaks": "\n", "control characters": "\x1b", "NUL": "\x00",
		"two bytes": "é", "C1 controls": "\u0085", "three bytes": "漢", "line separators": "\u2028", "zero width": "\u200b",
		"four bytes": "😀", "unprintable": "\U000e0001", "invalid": "\xff", "truncated characters": "\xf0\x9f\x98", "HTML": "<",
	} {
		t.Run(name, func(t *testing.T) {
			text := logtext.Bound(strings.Repeat(piece, 5000), maxBytes)
			require.True(t, utf8.ValidString(text))
			require.True(t, strings.HasSuffix(text, "…"))
			for _, format := range []string{"%q", "%+q"} {
				require.LessOrEqual(t, len(fmt.Sprintf(format, text)), maxBytes+len(`""`))
			}
			var line bytes.Buffer
			slog.New(slog.NewJSONHandler(&line, &slog.HandlerOptions{ReplaceAttr: onlyMessage})).Info(text)
			require.LessOrEqual(t, line.Len(), maxBytes+len(`{"msg":""}`+"\n"))
		})
	}
	require.Equal(t, "漢字", logtext.Bound("漢字", maxBytes), "a short text is unchanged")
}

func onlyMessage(_ []string, a slog.Attr) slog.Attr {
	if a.Key != slog.MessageKey {
		return slog.Attr{}
	}
	return a
}

func TestHideModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	word := func(maxLength int) string {
		b := make([]byte, random.IntN(maxLength+1))
		for i := range b {
			b[i] = "abc"[random.IntN(3)]
		}
		return string(b)
	}
	for range 20000 {
		var secrets []string
		for range random.IntN(10) {
			secrets = append(secrets, word(8))
		}
		text := word(40)
		want := simpleHide(secrets, text)
		require.Equal(t, want, logtext.NewSecrets(slices.Clone(secrets)).Hide(text, 1000), "%q in %q", secrets, text)
	}
}

func simpleHide(secrets []string, text string) string {
	var b strings.Builder
	hidden := 0
	for i := range len(text) {
		longest := 0
		for _, s := range secrets {
			if len(s) >= logtext.MinSecret && strings.HasPrefix(text[i:], s) {
				longest = max(longest, len(s))
			}
		}
		switch {
		case longest > 0 && (i > hidden || i == 0):
			b.WriteString("[redacted]")
		case longest == 0 && i >= hidden:
			b.WriteByte(text[i])
		}
		hidden = max(hidden, i+longest)
	}
	return b.String()
}

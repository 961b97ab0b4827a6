package chargeingest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequestID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	visible := "!\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~"
	for name, id := range map[string]string{"1 character": "x", "128 characters": strings.Repeat("x", 128), "all visible ASCII": visible} {
		t.Run("valid: "+name, func(t *testing.T) {
			for _, r := range everyRoute {
				resp := f.send(t, r.method, r.path, r.body, "x", "X-REQUEST-ID: "+id)
				require.Equal(t, []string{id}, resp.header.Values("X-REQUEST-ID"))
			}
		})
	}
	for name, id := range map[string]string{"empty": "", "129 characters": strings.Repeat("x", 129), "a blank": "a b", "a tab": "a\tb", "not ASCII": "é", "a control character": "a\x7fb"} {
		t.Run("invalid: "+name, func(t *testing.T) {
			resp := f.get(t, eventPath, "X-REQUEST-ID: "+id)
			require.Regexp(t, `^reqr_[!-~]{20,}$`, resp.header.Get("X-REQUEST-ID"))
		})
	}
	t.Run("generated ids are unique", func(t *testing.T) {
		seen := make(map[string]bool)
		for range 20 {
			seen[f.get(t, eventPath).header.Get("X-REQUEST-ID")] = true
		}
		require.Len(t, seen, 20)
	})
	for _, c := range everyError {
		t.Run(fmt.Sprintf("%d %s, %s", c.status, c.code, c.name), func(t *testing.T) {
			resp := c.provoke(t, newFixture(t, c.settings...), "X-REQUEST-ID: mine")
			require.Equal(t, "mine", resp.header.Get("X-REQUEST-ID"))
		})
	}
}

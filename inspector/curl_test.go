package inspector

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCurl(t *testing.T) {
	const start = "curl -g -X 'POST' 'http://h/a{b,c}?x=[1-3]' \\\n  -H 'X-API-KEY: <your key>'"
	for _, c := range []struct {
		name   string
		change func(*detail)
		want   string
	}{
		{"no body", func(*detail) {}, start},
		{"quotes", func(d *detail) { d.Body.Text = "it's\n{}" }, start + " \\\n  -H 'Content-Type:' \\\n  --data-raw 'it'\\''s\n{}'"},
		{"controls", func(d *detail) { d.Body.Text = "\x1b'\\\u0085" }, start + " \\\n  -H 'Content-Type:' \\\n  --data-raw $'\\x1b\\'\\\\\\u0085'"},
		{"headers", func(d *detail) {
			d.Header = [][2]string{{"Accept", "a"}, {"Authorization", "x"}, {"Proxy-X", "x"}, {"X-Secret", mask}, {"content-type", "text/plain"}}
			d.Body.Text = "{}"
		}, start + " \\\n  -H 'Accept: a' \\\n  -H 'content-type: text/plain' \\\n  --data-raw '{}'"},
		{"not UTF-8", func(d *detail) { d.Body = bodyText{Text: "/w==", Encoding: "base64"} }, "# The body is not valid UTF-8 and is left out.\n" + start},
		{"cut", func(d *detail) { d.Body = bodyText{Text: "{", Truncated: true, Bytes: 7} }, "# The body is left out: only a part of its 7 bytes was recorded.\n" + start},
		{"NUL", func(d *detail) { d.Body.Text = "\x00" }, "# The body is left out: a shell cannot pass on its NUL characters.\n" + start},
		{"long", func(d *detail) { d.Body.Text = strings.Repeat("x", maxArgument) }, "# The body is left out: it is too long for a command.\n" + start},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := detail{summary: summary{Method: "POST", Path: "/a{b,c}?x=[1-3]"}, Host: "h"}
			c.change(&d)
			require.Equal(t, c.want, d.curl())
		})
	}
}

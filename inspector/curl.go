package inspector

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var notSent = regexp.MustCompile(`(?i)^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|` +
	`cookie|content-length|content-encoding|user-agent|accept-encoding|x-api-key|authorization)$`)

// maxArgument is what Linux accepts as one argument of a command.
const maxArgument = 128 << 10

// curl returns the request as a command. Without -g, curl would send a request with braces in
// its URL several times.
func (d *detail) curl() string {
	var notes []string
	if strings.Contains(d.Path, mask) {
		notes = append(notes, "# Values of the query are masked.")
	}
	url := cmp.Or(d.Scheme, "http") + "://" + d.Host + d.Path
	parts := []string{"curl -g -X " + shellQuote(d.Method) + " " + shellQuote(url), "-H 'X-API-KEY: <your key>'"}
	for _, h := range d.Header {
		if !notSent.MatchString(h[0]) && !strings.Contains(h[1], mask) {
			parts = append(parts, "-H "+shellQuote(h[0]+": "+h[1]))
		}
	}
	data := ""
	switch b := d.Body; {
	case b.Encoding == "base64":
		notes = append(notes, "# The body is not valid UTF-8 and is left out.")
	case b.Truncated:
		notes = append(notes, fmt.Sprintf("# The body is left out: only a part of its %d bytes was recorded.", b.Bytes))
	case strings.Contains(b.Text, "\x00"):
		notes = append(notes, "# The body is left out: a shell cannot pass on its NUL characters.")
	default:
		data = shellQuote(b.Text)
	}
	if len(data) >= maxArgument {
		notes, data = append(notes, "# The body is left out: it is too long for a command."), "''"
	}
	if data != "" && data != "''" {
		if !slices.ContainsFunc(d.Header, func(h [2]string) bool { return strings.EqualFold(h[0], "Content-Type") }) {
			parts = append(parts, "-H 'Content-Type:'")
		}
		parts = append(parts, "--data-raw "+data)
	}
	return strings.Join(append(notes, strings.Join(parts, " \\\n  ")), "\n")
}

// shellQuote escapes control characters, which could end the quotes or run a command when
// pasted into a terminal. bash, zsh and ksh read such texts; sh reads the others.
func shellQuote(text string) string {
	isControl := func(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f }
	if !strings.ContainsFunc(text, func(r rune) bool { return isControl(r) && r != '\n' }) {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	b := []byte("$'")
	for _, r := range text {
		switch {
		case r == '\\' || r == '\'':
			b = append(b, '\\', byte(r))
		case isControl(r) && r <= 0x7f:
			b = fmt.Appendf(b, `\x%02x`, r)
		case isControl(r):
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return string(append(b, '\''))
}

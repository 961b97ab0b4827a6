package growth

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"example.com/chargeingest"
)

func compress(level int, parts ...string) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, level)
	for i, part := range parts {
		_, _ = w.Write([]byte(part))
		if i < len(parts)-1 {
			_ = w.Flush()
		}
	}
	_ = w.Close()
	return b.Bytes()
}

// Case sizes are those before or after compression, whichever is larger.
func gzipCases() []Case {
	noise := func(n int) string {
		const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
		random := rand.New(rand.NewPCG(14, 14)) //nolint:gosec // reproducible, and no secret
		b := make([]byte, n)
		for i := range b {
			b[i] = digits[random.IntN(len(digits))]
		}
		return string(b)
	}
	variants := func(name string, status int, body func(n int) []byte) []Case {
		a := func(chunked bool, configure ...func(*chargeingest.Config)) func(n int) attack {
			return func(n int) attack {
				c := post(singlePath, "", status, "Content-Encoding", "gzip")
				c.body, c.chunked = body(n), chunked
				return attack{configure: append(configure, keepUnknown), calls: []call{c}}
			}
		}
		return []Case{
			{"gzip: " + name, caseSize, a(false)},
			{"gzip: " + name + "/without Content-Length", caseSize, a(true)},
		}
	}
	const small = gzip.BestCompression
	spaces := func(n int) string { return strings.Repeat(" ", n) + event() }
	kept := func(n int) string { return event(`"x":` + quote(noise(n))) }
	limited := func(c *chargeingest.Config) { c.MaxBodyBytes = 1000 }
	cases := []Case{
		{"gzip: more than the limit/rejected", caseSize, func(n int) attack {
			c := post(singlePath, "", http.StatusRequestEntityTooLarge, "Content-Encoding", "gzip")
			c.body, c.chunked = compress(small, strings.Repeat(" ", 100*n)), true
			return attack{configure: []func(*chargeingest.Config){limited}, calls: []call{c}}
		}},
	}
	for _, c := range []struct {
		name   string
		status int
		body   func(n int) []byte
	}{
		{"highly compressible/stored", http.StatusCreated, func(n int) []byte { return compress(small, spaces(n)) }},
		{"hardly compressible/stored", http.StatusCreated, func(n int) []byte { return compress(small, kept(n)) }},
		{"not compressed/stored", http.StatusCreated, func(n int) []byte { return compress(gzip.NoCompression, kept(n)) }},
		{"a flush after each byte/stored", http.StatusCreated, func(n int) []byte {
			return compress(small, strings.Split(spaces(n/8), "")...)
		}},
		{"many empty members/stored", http.StatusCreated, func(n int) []byte {
			return append(bytes.Repeat(compress(small, ""), n/25), compress(small, event())...)
		}},
		{"truncated/rejected", http.StatusBadRequest, func(n int) []byte {
			all := compress(small, kept(n))
			return all[:len(all)-9]
		}},
		{"names and dots/rejected", http.StatusBadRequest, func(n int) []byte {
			return compress(small, event(`"reference":"not a reference"`, fill(n, func(i int) string {
				return fmt.Sprintf(`"x%d%s":1`, i, strings.Repeat(".", 100))
			})))
		}},
	} {
		cases = append(cases, variants(c.name, c.status, c.body)...)
	}
	return cases
}

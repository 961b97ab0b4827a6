package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/logtext"
)

const (
	// minCookie is the length of a hidden part of a cookie. Session ids are longer,
	// and hiding shorter parts would let a caller hide chosen words of an error.
	minCookie = 9

	minPiece = 8

	// maxSecretParts bounds the parts of credential headers. Browsers send at most 540.
	maxSecretParts = 1024

	// maxFormBytes bounds the forms of all secrets together.
	maxFormBytes = 256 << 10
	formOverhead = 32
)

// credentials collects the secrets of credential headers in the forms in which an error can
// quote them. Names, schemes and user names are not secrets.
type credentials struct {
	forms    []string
	complete bool // false after a header that is too long or has too many parts
	seen     map[string]bool
	parts    int // left
	bytes    int // left
	shortest int // secret of the current header
}

func newCredentials() *credentials {
	return &credentials{complete: true, seen: map[string]bool{}, parts: maxSecretParts, bytes: maxFormBytes}
}

func (c *credentials) addHeader(name string, values []string) {
	if TooLong(values) {
		c.complete = false
		return
	}
	c.shortest = logtext.MinSecret
	if name == "Cookie" {
		c.shortest = minCookie
	}
	for _, value := range values {
		c.add(value)
		scheme, rest, ok := strings.Cut(strings.TrimLeft(value, " \t"), " ")
		if ok && (name == "Authorization" || name == "Proxy-Authorization") {
			value = rest
			if strings.EqualFold(scheme, "Basic") {
				c.addBasic(rest)
			}
		}
		c.addParts(value)
	}
}

// Cookies end at semicolons, parameters also at commas, and words at spaces.
var secretSeparators = []string{";", ";,", ";, \t"}

func (c *credentials) addParts(value string) {
	for _, separators := range secretSeparators {
		for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
			if c.parts--; c.parts < 0 {
				c.complete = false
				return
			}
			c.add(part)
			part = strings.TrimRight(part, "=") // of base64
			c.add(part)
			if _, secret, ok := strings.Cut(part, "="); ok {
				part = secret
				c.add(part)
			}
			if separators == secretSeparators[len(secretSeparators)-1] {
				c.addPieces(part)
			}
		}
	}
}

// addPieces adds parts such as the signature of a JWT.
func (c *credentials) addPieces(token string) {
	if !strings.ContainsAny(token, ".:%") {
		return
	}
	for _, text := range decodings(token) {
		for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '.' || r == ':' }) {
			if len(piece) < minPiece {
				continue
			}
			if c.parts--; c.parts < 0 {
				c.complete = false
				return
			}
			c.add(piece)
		}
	}
}

// addBasic treats a user name without a password as the secret.
func (c *credentials) addBasic(token string) {
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(token), "="))
	if err != nil {
		return
	}
	user, password, _ := strings.Cut(string(text), ":")
	if password == "" {
		c.add(user)
		return
	}
	c.add(string(text))
	c.add(password)
}

func (c *credentials) add(s string) {
	s = strings.Trim(s, ` "'`)
	if len(s) < c.shortest || c.seen[s] || !c.complete {
		return
	}
	for _, text := range decodings(s) {
		if len(text) < c.shortest || !c.addForm(text) || !strings.ContainsFunc(text, isEscaped) {
			continue
		}
		for _, form := range escapes(text) {
			c.addForm(form)
		}
	}
}

// addForm reports whether the form is new.
func (c *credentials) addForm(form string) bool {
	if c.seen[form] {
		return false
	}
	if c.bytes -= len(form) + formOverhead; c.bytes < 0 {
		c.complete = false
		return false
	}
	c.seen[form] = true
	c.forms = append(c.forms, form)
	return true
}

func decodings(s string) []string {
	texts := []string{s}
	if strings.ContainsAny(s, "%+") {
		if decoded, err := url.PathUnescape(s); err == nil && decoded != s {
			texts = append(texts, decoded)
		}
		if strings.Contains(s, "+") {
			if decoded, err := url.QueryUnescape(s); err == nil {
				texts = append(texts, decoded)
			}
		}
	}
	return texts
}

func escapes(s string) []string {
	quoted, inJSON := inQuotes(strconv.Quote(s)), jsonText(s)
	return []string{
		quoted, inQuotes(strconv.QuoteToASCII(s)), inQuotes(strconv.Quote(quoted)),
		inJSON, withoutHTMLEscapes.Replace(inJSON),
		url.QueryEscape(s), url.PathEscape(s),
	}
}

func inQuotes(quoted string) string { return quoted[1 : len(quoted)-1] }

func jsonText(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return inQuotes(string(text))
}

// withoutHTMLEscapes is for json.Encoder.SetEscapeHTML(false).
var withoutHTMLEscapes = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

func isEscaped(c rune) bool {
	return c >= 0x80 || !isWordByte(byte(c)) && c != '.' && c != '~'
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

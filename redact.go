package chargeingest

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/logtext"
	"example.com/chargeingest/internal/trace"
)

// The most bytes of an attribute in a log line, escapes counted. A line with
// all of its attributes stays below 16 KiB.
const (
	maxLoggedError = 6 << 10
	maxLoggedText  = 1536
)

const (
	// minSecret is the shortest text that is redacted: a shorter one is not a
	// secret, and occurs in words.
	minSecret = 4

	// maxSecretParts bounds the parts of credential headers that are searched
	// for. Browsers send at most 180 cookies, which are three parts each.
	maxSecretParts = 1024
)

// credentialHeaders are the headers that carry credentials, in the order in
// which they decide.
var credentialHeaders = []string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie"}

// redactor prepares the texts of one request for the log. The zero value
// withholds all of them.
type redactor struct {
	all      *logtext.Secrets // of all credential headers
	deciding *logtext.Secrets // of the first one that the request has
}

func newRedactor(h http.Header) redactor {
	all := secretsOf(h, credentialHeaders)
	if all == nil {
		return redactor{}
	}
	for _, name := range credentialHeaders {
		if len(h[name]) > 0 {
			return redactor{all, secretsOf(h, []string{name})}
		}
	}
	return redactor{all, all}
}

func hide(secrets *logtext.Secrets, text string, maxBytes int) string {
	if secrets == nil && text != "" {
		return logtext.Marker
	}
	return secrets.Hide(text, maxBytes)
}

// clientText is a text that the client chose.
func (r redactor) clientText(s string) string { return hide(r.all, s, maxLoggedText) }

// hostText is a text that the authorizer chose. Headers that do not decide are
// not searched: a caller could otherwise hide its own name from the log.
func (r redactor) hostText(s string) string { return hide(r.deciding, s, maxLoggedText) }

// cause is the text of an error. The stack of a panic has its own room, however
// long the value is.
func (r redactor) cause(err error) string {
	if errors.Is(err, errCredentialTooLong) {
		return errCredentialTooLong.Error() // a constant
	}
	text := err.Error()
	var p trace.PanicError
	if !errors.As(err, &p) {
		return hide(r.all, text, maxLoggedError)
	}
	text = strings.Replace(text, p.Where, "", 1)
	return hide(r.all, text, maxLoggedError/2) + hide(r.all, p.Where, maxLoggedError/2)
}

// secretsOf returns the secrets in headers: each value as a whole, without the
// scheme of an Authorization, and in parts, see appendParts; the decoded form and
// the password of Basic. Each of them also as %q and a URL escape it. Names,
// schemes and user names are not secrets.
//
// It returns nil for headers that are too long or have too many parts.
func secretsOf(h http.Header, names []string) *logtext.Secrets {
	var found []string
	parts := 0
	for _, name := range names {
		values := h[name]
		if tooLong(values) {
			return nil
		}
		for _, value := range values {
			found = appendSecret(found, value)
			scheme, rest, ok := strings.Cut(strings.TrimLeft(value, " \t"), " ")
			if ok && (name == "Authorization" || name == "Proxy-Authorization") {
				value = rest
				if strings.EqualFold(scheme, "Basic") {
					found = appendBasic(found, rest)
				}
			}
			var n int
			if found, n = appendParts(found, value, maxSecretParts-parts); n < 0 {
				return nil
			}
			parts += n
		}
	}
	return logtext.NewSecrets(found)
}

// appendParts appends the parts of a value between semicolons, as cookies are,
// commas, as parameters are, and spaces, and of each part what is behind its
// first equals sign. It returns how many parts there are, or -1 if they are more
// than most.
func appendParts(found []string, value string, most int) ([]string, int) {
	n := 0
	for _, separators := range []string{";", ";,", ";, \t"} {
		for part := range strings.FieldsFuncSeq(value, func(c rune) bool { return strings.ContainsRune(separators, c) }) {
			if n++; n > most {
				return found, -1
			}
			found = appendSecret(found, part)
			part = strings.TrimRight(part, "=") // of base64
			found = appendSecret(found, part)
			if _, secret, ok := strings.Cut(part, "="); ok {
				found = appendSecret(found, secret)
			}
		}
	}
	return found, n
}

// appendBasic appends what the token of Basic holds. A user name without a
// password is the secret itself.
func appendBasic(found []string, token string) []string {
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(token), "="))
	if err != nil {
		return found
	}
	user, password, _ := strings.Cut(string(text), ":")
	if password == "" {
		return appendSecret(found, user)
	}
	return appendSecret(appendSecret(found, string(text)), password)
}

// appendSecret appends s in the forms in which an error can quote it.
func appendSecret(found []string, s string) []string {
	s = strings.Trim(s, ` "'`)
	if len(s) < minSecret {
		return found
	}
	found = append(found, s)
	if !strings.ContainsFunc(s, isEscaped) {
		return found
	}
	quoted, ascii := strconv.Quote(s), strconv.QuoteToASCII(s)
	found = append(found, quoted[1:len(quoted)-1], ascii[1:len(ascii)-1], url.QueryEscape(s), url.PathEscape(s))
	if decoded, err := url.PathUnescape(s); err == nil && len(decoded) >= minSecret {
		found = append(found, decoded)
	}
	return found
}

// isEscaped reports whether some way of quoting escapes c.
func isEscaped(c rune) bool {
	return c >= 0x80 || !isWordByte(byte(c)) && c != '.' && c != '~'
}

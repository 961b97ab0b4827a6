package chargeingest

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"example.com/chargeingest/internal/logtext"
	"example.com/chargeingest/internal/panics"
)

// The most bytes of an attribute in a log line, escapes counted. A line with
// all of its attributes stays below 16 KiB.
const (
	maxLoggedError   = 6 << 10
	maxLoggedText    = 1536
	maxLoggedPath    = 512
	maxLoggedAddress = 256
)

// credentialHeaders are the headers that carry credentials, in the order in
// which they decide.
var credentialHeaders = []string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie"}

// minOtherSecret is the length of the shortest secret of a header that does not
// decide that is hidden in texts of the authorizer. A session ID is longer, most
// names of callers are shorter.
const minOtherSecret = 16

// redactor prepares the texts of one request for the log. The zero value
// withholds all of them.
type redactor struct {
	header http.Header
	client *logtext.Secrets // hidden in texts of the client and of errors
	host   *logtext.Secrets // hidden in texts of the authorizer
}

func newRedactor(h http.Header) redactor {
	r := redactor{header: h}
	c := newCredentials()
	deciding := -1 // how many secrets the first header has
	complete := false
	for _, name := range credentialHeaders {
		c.addHeader(name, h[name])
		if deciding < 0 && len(h[name]) > 0 {
			deciding, complete = len(c.forms), c.complete
		}
	}
	if c.complete {
		r.client = logtext.NewSecrets(c.forms)
	}
	switch {
	case deciding < 0, c.complete && deciding == len(c.forms):
		r.host = r.client
	case complete:
		host := c.forms[:deciding:deciding]
		for _, form := range c.forms[deciding:] {
			if len(form) >= minOtherSecret {
				host = append(host, form)
			}
		}
		r.host = logtext.NewSecrets(host)
	}
	return r
}

func hide(secrets *logtext.Secrets, text string, maxBytes int) string {
	if secrets == nil && text != "" {
		return logtext.Marker
	}
	return secrets.Hide(text, maxBytes)
}

// requestID is the ID of the request. One that the handler made has no secret,
// and a caller must not be able to hide it.
func (r redactor) requestID(id string) string {
	if isRandomRequestID(id) && r.header.Get("X-Request-Id") != id {
		return id
	}
	return r.clientText(id)
}

func isRandomRequestID(id string) bool {
	random, ok := strings.CutPrefix(id, "reqr_")
	return ok && len(random) == len("ABCDEFGHIJKLMNOPQRSTUVWXYZ") && strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// method is the method of the request. The names of the standard ones stay.
func (r redactor) method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return r.clientText(m)
}

// path is the path of the request, escaped and without its query.
func (r redactor) path(u *url.URL) string { return hide(r.client, u.EscapedPath(), maxLoggedPath) }

// clientAddress is RemoteAddr. Middleware may have put the text of a header in its
// place.
func (r redactor) clientAddress(a string) string { return hide(r.client, a, maxLoggedAddress) }

// clientText is a text that the client chose.
func (r redactor) clientText(s string) string { return hide(r.client, s, maxLoggedText) }

// hostText is a text that the authorizer chose. Headers that do not decide hide
// little of it, so that a caller cannot hide its own name with them.
func (r redactor) hostText(s string) string { return hide(r.host, s, maxLoggedText) }

// cause is the text of an error. The stack of a panic has its own room, however
// long the value is.
func (r redactor) cause(err error) string {
	if errors.Is(err, errCredentialTooLong) {
		return errCredentialTooLong.Error() // a constant
	}
	text := err.Error()
	var p panics.Error
	if !errors.As(err, &p) {
		return hide(r.client, text, maxLoggedError)
	}
	text = strings.Replace(text, p.Where, "", 1)
	return hide(r.client, text, maxLoggedError/2) + hide(r.client, p.Where, maxLoggedError/2)
}

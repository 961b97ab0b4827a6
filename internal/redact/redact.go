// Package redact removes the credentials of a request from texts for the log.
package redact

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"example.com/chargeingest/internal/logtext"
	"example.com/chargeingest/internal/panics"
)

// Limits of one attribute in bytes, including escapes.
const (
	maxLoggedError   = 6 << 10
	maxLoggedText    = 1536
	maxLoggedPath    = 512
	maxLoggedAddress = 256
)

// MaxHeaderBytes bounds the values of each credential header.
const MaxHeaderBytes = 16 << 10

// CredentialHeaders are in order: the first that a request has authenticates it.
var CredentialHeaders = []string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie"}

// HasLongCredential reports whether a credential header is TooLong.
func HasLongCredential(h http.Header) bool {
	for _, name := range CredentialHeaders {
		if TooLong(h[name]) {
			return true
		}
	}
	return false
}

// TooLong reports whether the values of a credential header exceed MaxHeaderBytes.
func TooLong(values []string) bool {
	size := 0
	for _, v := range values {
		if size += len(v) + 1; size > MaxHeaderBytes { // empty values count too
			return true
		}
	}
	return false
}

// minOtherSecret is for secrets of other headers. Session ids are longer, most names
// shorter.
const minOtherSecret = 16

// Redactor prepares the texts of one request for the log. The zero value hides all.
type Redactor struct {
	header http.Header
	client *logtext.Secrets // hidden in texts from the client and in errors
	host   *logtext.Secrets // hidden in texts from the authorizer
}

// New reads the credentials of h.
func New(h http.Header) Redactor {
	r := Redactor{header: h}
	c := newCredentials()
	authForms := -1   // number of forms up to the authenticating header; -1 before it
	complete := false // up to that header
	for _, name := range CredentialHeaders {
		c.addHeader(name, h[name])
		if authForms < 0 && len(h[name]) > 0 {
			authForms, complete = len(c.forms), c.complete
		}
	}
	if c.complete {
		r.client = logtext.NewSecrets(c.forms)
	}
	switch {
	case authForms < 0, c.complete && authForms == len(c.forms):
		r.host = r.client
	case complete:
		host := c.forms[:authForms:authForms]
		for _, form := range c.forms[authForms:] {
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

// RequestID keeps an id that the handler generated, which a caller must not hide.
func (r Redactor) RequestID(id string) string {
	if isRandomRequestID(id) && r.header.Get("X-Request-Id") != id {
		return id
	}
	return r.ClientText(id)
}

func isRandomRequestID(id string) bool {
	random, ok := strings.CutPrefix(id, "reqr_")
	return ok && len(random) == len("ABCDEFGHIJKLMNOPQRSTUVWXYZ") && strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// Method keeps standard methods.
func (r Redactor) Method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return r.ClientText(m)
}

// Path omits the query.
func (r Redactor) Path(u *url.URL) string { return hide(r.client, u.EscapedPath(), maxLoggedPath) }

// ClientAddress redacts RemoteAddr, which middleware may have set.
func (r Redactor) ClientAddress(a string) string { return hide(r.client, a, maxLoggedAddress) }

// ClientText redacts a text of the client.
func (r Redactor) ClientText(s string) string { return hide(r.client, s, maxLoggedText) }

// HostText redacts a text of the authorizer. Headers that do not authenticate the request
// hide only long secrets, so that a caller cannot hide its name.
func (r Redactor) HostText(s string) string { return hide(r.host, s, maxLoggedText) }

// Cause keeps the stack of a panic with a long value.
func (r Redactor) Cause(err error) string {
	text := err.Error()
	var p panics.Error
	if !errors.As(err, &p) {
		return hide(r.client, text, maxLoggedError)
	}
	text = strings.Replace(text, p.Where, "", 1)
	return hide(r.client, text, maxLoggedError/2) + hide(r.client, p.Where, maxLoggedError/2)
}

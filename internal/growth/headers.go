package growth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/redact"
	"example.com/chargeingest/memstore"
)

// headerSize keeps the larger run below the header limit of net/http.
const headerSize = 16 << 10

func echo(r *http.Request) error {
	var b strings.Builder
	b.WriteString("no credential in")
	for _, name := range redact.CredentialHeaders {
		for _, value := range r.Header.Values(name) {
			b.WriteString(" " + name + ": " + value)
		}
	}
	return errors.New(b.String())
}

func headerCases() []Case {
	authorizers := []struct {
		name   string
		status int
		chargeingest.Authorizer
	}{
		{"no credential", anyErrorStatus, deny(func(*http.Request) error { return chargeingest.ErrNoCredential })},
		{"an echo", anyErrorStatus, deny(echo)},
		{"an echo with ErrInvalidCredential", anyErrorStatus, deny(func(r *http.Request) error {
			return fmt.Errorf("%w: %w", chargeingest.ErrInvalidCredential, echo(r))
		})},
		{"authorized, failing store", anyErrorStatus, Anyone},
	}
	values := []struct {
		name  string
		value func(n int) []string
	}{
		{"cred;reda;cted", func(n int) []string { return []string{repeat("cred;reda;cted;", n)} }},
		{"overlapping parts", func(n int) []string {
			var b strings.Builder
			for i := 4; b.Len() < n; i++ {
				b.WriteString("[redacted]"[i%8:] + strings.Repeat("e", i%50) + " ")
			}
			return []string{b.String()}
		}},
		{"many parts", func(n int) []string {
			return []string{strings.ReplaceAll(fill(n, func(i int) string { return fmt.Sprintf("part%d", i) }), ",", "; ")}
		}},
		{"parts of one letter in every length", func(n int) []string {
			var parts []string
			for i, sum := 4, 0; sum < n; i, sum = i+1, sum+i {
				parts = append(parts, strings.Repeat("a", i))
			}
			return []string{strings.Join(parts, " ")}
		}},
		{"one long part", func(n int) []string { return []string{strings.Repeat("s", n)} }},
		{"separators", func(n int) []string { return []string{repeat(";=, ", n)} }},
		{"many headers", func(n int) []string {
			return strings.Split(fill(n, func(i int) string { return fmt.Sprintf("value%d", i) }), ",")
		}},
	}
	var cases []Case
	for i, v := range values {
		for j, name := range redact.CredentialHeaders {
			if i > 0 && j != i%len(redact.CredentialHeaders) {
				continue
			}
			for _, authorizer := range authorizers {
				cases = append(cases, Case{name + ", " + v.name + "/" + authorizer.name, headerSize, func(n int) attack {
					c := post(singlePath, event(), authorizer.status)
					c.header[name] = v.value(n)
					return attack{configure: []func(*chargeingest.Config){func(cfg *chargeingest.Config) {
						cfg.Authorizer, cfg.Store = authorizer, failingStore{memstore.New(), echo(&http.Request{Header: c.header})}
					}}, calls: []call{c}}
				}})
			}
		}
	}
	return append(cases, otherHeaders()...)
}

func deny(err func(*http.Request) error) chargeingest.Authorizer {
	return chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, err(r)
	})
}

type failingStore struct {
	*memstore.Store
	err error
}

func (f failingStore) Append(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
	return chargeingest.AppendResult{}, fmt.Errorf("%w: %w", chargeingest.ErrNotStored, f.err)
}

func otherHeaders() []Case {
	var cases []Case
	for _, h := range []struct {
		name   string
		status int
		value  string
	}{
		{"X-Request-Id", http.StatusCreated, "a"},
		{"X-Platform-Id", http.StatusForbidden, "a"},
		{"Idempotency-Key", http.StatusBadRequest, "a"},
		{"Content-Type", http.StatusUnsupportedMediaType, "application/"},
		{"Content-Encoding", http.StatusUnsupportedMediaType, "gzip, "},
		{"X-Forwarded-For", http.StatusCreated, "192.0.2.1, "},
	} {
		cases = append(cases,
			Case{"a long " + h.name, headerSize, func(n int) attack {
				c := post(singlePath, event(), h.status)
				c.header[h.name] = []string{repeat(h.value, n)}
				return attack{calls: []call{c}}
			}},
			Case{"many " + h.name, headerSize, func(n int) attack {
				c := post(singlePath, event(), h.status)
				for range n / (len(h.name) + len(h.value)) {
					c.header[h.name] = append(c.header[h.name], h.value)
				}
				return attack{calls: []call{c}}
			}},
		)
	}
	return append(cases, Case{"parameters of Content-Type", headerSize, func(n int) attack {
		c := post(singlePath, event(), http.StatusCreated)
		c.header["Content-Type"] = []string{"application/json" + repeat("; charset=utf-8", n)}
		return attack{calls: []call{c}}
	}})
}

package chargeingest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

const maxLogLine = 16 << 10

func withAuthorizerError(text func(r *http.Request) string) func(*chargeingest.Config) {
	return withAuthorizer(chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, errors.New(text(r))
	}))
}

func loggedError(t *testing.T, text string, headers ...string) string {
	t.Helper()
	lines, _ := logLines(t, slog.LevelDebug, request(http.MethodGet, eventPath, nil, append([]string{"-X-API-KEY"}, headers...)...),
		withAuthorizerError(func(*http.Request) string { return text }))
	require.Len(t, lines, 1)
	return lines[0]["error"].(string)
}

func TestCredentialsInErrors(t *testing.T) {
	t.Parallel()
	basic := func(text string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
	}
	for _, c := range []struct {
		name, header string
		text, want   string
	}{
		{"a key", "X-Api-Key: secret-1", "no key secret-1 here", "no key [redacted] here"},
		{"a key, quoted", `X-Api-Key: se"cr\et`, fmt.Sprintf("no key %q here", `se"cr\et`), `no key "[redacted]" here`},
		{"a key that is not ASCII, quoted", "X-Api-Key: sécret", fmt.Sprintf("no key %+q here", "sécret"), `no key "[redacted]" here`},
		{"a key in a query", "X-Api-Key: a+b/c=d&e", "get /?key=" + url.QueryEscape("a+b/c=d&e") + ": refused", "get /?key=[redacted]: refused"},
		{"a key in a path", "X-Api-Key: a+b/c=d&e", "get /" + url.PathEscape("a+b/c=d&e") + ": refused", "get /[redacted]: refused"},
		{"a complete value", "X-Api-Key: ab;cd=ef,gh", "no key ab;cd=ef,gh", "no key [redacted]"},
		{"a part of a value", "X-Api-Key: id-1;secret-1", "no key secret-1", "no key [redacted]"},
		{"a token", "Authorization: Bearer secret-1", `no token "secret-1"`, `no token "[redacted]"`},
		{"the header of a token", "Authorization: Bearer secret-1", `header "Bearer secret-1"`, `header "[redacted]"`},
		{"the scheme is kept", "Authorization: Bearer secret-1", "the scheme Bearer of secret-1", "the scheme Bearer of [redacted]"},
		{"a token without a scheme", "Authorization: secret-1", "no token secret-1", "no token [redacted]"},
		{"a parameter", `Authorization: Token id=user-1, key="secret-1"`, "no key secret-1", "no key [redacted]"},
		{"a token of short words", "Authorization: Bearer ab cd ef", "no token ab cd ef", "no token [redacted]"},
		{"a parameter of short words", `Authorization: Token id=1, key="ab cd ef"`, "no key ab cd ef", "no key [redacted]"},
		{"a cookie of short words", "Cookie: a=1; sid=ab cd,ef gh; b=2", "no session ab cd,ef gh", "no session [redacted]"},
		{"base64 without its padding", "Authorization: Bearer c2VjcmV0LTE==", "no token c2VjcmV0LTE.", "no token [redacted]."},
		{"Basic, encoded", basic("user:secret-1"), "no login dXNlcjpzZWNyZXQtMQ==", "no login [redacted]"},
		{"Basic, decoded", basic("user:secret-1"), "no login user:secret-1", "no login [redacted]"},
		{"the password of Basic", basic("user:secret-1"), "user has no password secret-1", "user has no password [redacted]"},
		{"a user without a password", basic("secret-1:"), "no login secret-1", "no login [redacted]"},
		{"a proxy's credential", "Proxy-Authorization: Bearer secret-1", "no token secret-1", "no token [redacted]"},
		{"all cookies", "Cookie: a=secret-1; b=secret-2", "no cookies a=secret-1; b=secret-2", "no cookies [redacted]"},
		{"a cookie's value", "Cookie: a=session-1; b=session-2", "no session session-2", "no session [redacted]"},
		{"a cookie's value in quotes", `Cookie: a="session-1"`, "no session session-1", "no session [redacted]"},
		{"a cookie's value, decoded", "Cookie: a=s%3Asecret%2B1", "no session s:secret+1", "no session [redacted]"},
		{"a cookie name is kept", "Cookie: session=secret-1", "no session", "no session"},
		{"a short value is kept", "Cookie: a=log; b=in", "no login in log", "no login in log"},
		{"a short cookie is kept", "Cookie: a=database", "database is locked", "database is locked"},
		{"a longer secret before a part of it", "Cookie: a=secret; b=secret-and-more", "no session secret-and-more", "no session [redacted]"},
		{"a longer secret after a part of it", "Cookie: b=secret-and-more; a=secret", "no session secret-and-more", "no session [redacted]"},
		{"parts of the marker", "X-Api-Key: cred;reda;cted", "no cred", "no [redacted]"},
		{"paths and SQL are kept", "X-Api-Key: secret-1", "open /var/lib/x.db: INSERT INTO t", "open /var/lib/x.db: INSERT INTO t"},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, loggedError(t, c.text, c.header)) })
	}
}

func TestRedactionCost(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Cookie", "X-Api-Key", "Authorization", "Proxy-Authorization"} {
		t.Run(name, func(t *testing.T) {
			got := loggedError(t, "no credentials", name+": credentials;"+strings.Repeat("[redacted;redacted];", 3))
			require.Equal(t, "no [redacted]", got)
		})
	}
}

func TestSecretAtLineLimit(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0123456789", 20)
	for _, before := range []int{0, 1000, 6000, 6100, 6130, 6144, 6200, 20_000} {
		got := loggedError(t, strings.Repeat("x", before)+secret, "Cookie: sid="+secret)
		require.NotContains(t, got, "0123", before)
	}
}

func TestTooManySecretParts(t *testing.T) {
	t.Parallel()
	var cookies strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&cookies, "c%d=secret%d;", i, i)
	}
	require.Equal(t, "[redacted]", loggedError(t, "no session secret999", "Cookie: "+cookies.String()))
}

func TestCredentialsInOtherAttributes(t *testing.T) {
	t.Parallel()
	const secret = "secret-of-a-client"
	as := func(p chargeingest.Principal) func(*chargeingest.Config) {
		return withAuthorizer(chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) { return p, nil }))
	}
	checkout := as(chargeingest.Principal{Subject: "checkout", Platforms: []string{"acme"}})
	key := "X-API-KEY: " + secret
	for _, c := range []struct {
		name      string
		attribute string
		request   *http.Request
		setting   func(*chargeingest.Config)
		want      any
	}{
		{"the method", "method", request(secret, eventPath, nil, key), checkout, "[redacted]"},
		{"the request id", "request_id", request("GET", eventPath, nil, key, "X-Request-Id: my-"+secret), checkout, "my-[redacted]"},
		{"an unknown field", "field", request("POST", eventPath, strings.NewReader(event(quoted(secret)+":1")), key), checkout, "[redacted]"},
		{"a parameter", "field", request("GET", eventPath+"?"+secret, nil, key), checkout, "[redacted]"},
		{"the path", "path", request("GET", "/keys/"+secret+"/x", nil, key), checkout, "/keys/[redacted]/x"},
		{"the path, escaped", "path", request("GET", "/"+url.PathEscape("a b+c/d?e"), nil, "X-API-KEY: a b+c/d?e"), checkout, "/[redacted]"},
		{"the path of a wrong method", "path", request("PUT", eventPath+"/"+secret, nil, key), checkout, eventPath + "/[redacted]"},
		{"the client's address", "client", withRemoteAddr(secret, request("GET", eventPath, nil, key)), checkout, "[redacted]"},
		{"a subject", "subject", request("GET", eventPath, nil, key), as(chargeingest.Principal{Subject: "key " + secret, Platforms: []string{"acme"}}), "key [redacted]"},
		{"a platform", "platform", request("GET", eventPath, nil, key), as(chargeingest.Principal{Platforms: []string{secret}}), "[redacted]"},
		{"a session id as the subject", "subject", request("GET", eventPath, nil, "-X-API-KEY", "Cookie: sid="+secret), as(chargeingest.Principal{Subject: secret, Platforms: []string{"acme"}}), "[redacted]"},
		{"a subject that equals an unused cookie is kept", "subject", request("GET", eventPath, nil, key, "Cookie: a=checkout"), checkout, "checkout"},
		{"a platform that equals an unused token is kept", "platform", request("GET", eventPath, nil, key, "Authorization: Bearer acme"), checkout, "acme"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, text := logLines(t, slog.LevelDebug, c.request, c.setting)
			require.Len(t, lines, 1)
			require.Equal(t, c.want, lines[0][c.attribute])
			require.NotContains(t, text, secret)
		})
	}
}

func withRemoteAddr(address string, r *http.Request) *http.Request {
	r.RemoteAddr = address
	return r
}

func TestLogLineSize(t *testing.T) {
	t.Parallel()
	for kind, piece := range map[string]string{
		"letters": "a", "quotes": `"`, "control characters": "\x1b", "not printable": "\U000e0001", "invalid UTF-8": "\xff", "characters with long escapes": "\u200b",
	} {
		long := strings.Repeat(piece, 100_000)
		principal := chargeingest.Principal{Subject: long, Platforms: []string{long}}
		authorizer := func(err error) chargeingest.Authorizer {
			return chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
				return principal, err
			})
		}
		panicking := storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) { panic(long) })
		for name, c := range map[string]struct {
			authorizer chargeingest.Authorizer
			store      chargeingest.EventStore
		}{
			"an authorizer's error": {authorizer(errors.New(long)), panicking},
			"a store's panic":       {authorizer(nil), panicking},
			"a store's error": {authorizer(nil), storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, errors.New(long)
			})},
		} {
			t.Run(name+" of "+kind, func(t *testing.T) {
				var lines bytes.Buffer
				for _, handler := range []slog.Handler{
					slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}),
					slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}),
				} {
					h, err := chargeingest.New(chargeingest.Config{
						Store: c.store, Authorizer: c.authorizer, Logger: slog.New(handler),
						RequestID: func() string { return long },
						Observer:  func(context.Context, chargeingest.RequestStats) { panic(long) },
					})
					require.NoError(t, err)
					for _, r := range []*http.Request{
						request("POST", eventPath, strings.NewReader(event())),
						request("POST", eventPath, strings.NewReader(event(quoted(long)+":1"))),
						request("GET", eventPath, nil),
						request("GET", eventPath, nil, "X-Request-Id: "+long),
						request("GET", eventPath, nil, "Cookie: "+long),
						withRemoteAddr(long, request("GET", "/"+url.PathEscape(long), nil, "X-Request-Id: "+long)),
					} {
						for _, method := range []string{r.Method, long} {
							r.Method = method
							w := httptest.NewRecorder()
							h.ServeHTTP(w, r)
							require.Regexp(t, `^reqr_[A-Z2-7]{26}$`, w.Header().Get("X-Request-Id"))
						}
					}
				}
				n := 0
				for line := range strings.Lines(lines.String()) {
					n++
					require.LessOrEqual(t, len(line), maxLogLine)
				}
				require.Equal(t, 2*2*6*2, n, "one line per request and one per observer panic")
				if strings.Contains(name, "panic") {
					require.Contains(t, lines.String(), "chargeingest_test.storeFunc.Append", "the stack is kept after a long value")
				}
			})
		}
	}
}

package chargeingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func withPrincipal(p func(*http.Request) chargeingest.Principal) func(*chargeingest.Config) {
	return withAuthorizer(chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
		return p(r), nil
	}))
}

func TestCookiesDoNotHideTheSubject(t *testing.T) {
	t.Parallel()
	checkout := withPrincipal(func(*http.Request) chargeingest.Principal {
		return chargeingest.Principal{Subject: "checkout", Platforms: []string{"acme"}}
	})
	lines, _ := logLines(t, slog.LevelDebug, request("GET", eventPath, nil, "Cookie: "+strings.Repeat("a;", 400)), checkout)
	require.Len(t, lines, 1)
	require.Equal(t, "checkout", lines[0]["subject"])
	require.Equal(t, "acme", lines[0]["platform"])
}

func TestGeneratedRequestIDIsLogged(t *testing.T) {
	t.Parallel()
	for name, cookie := range map[string]string{"too long": strings.Repeat("a", 17<<10), "too many parts": strings.Repeat("a;", 400)} {
		t.Run(name, func(t *testing.T) {
			lines, _ := logLines(t, slog.LevelDebug, request("GET", eventPath, nil, "Cookie: "+cookie))
			require.Len(t, lines, 1)
			require.Regexp(t, `^reqr_[A-Z2-7]{26}$`, lines[0]["request_id"])
			require.Equal(t, "GET", lines[0]["method"])
		})
	}
}

func TestRequestIDIsRedacted(t *testing.T) {
	t.Parallel()
	const key = "reqr_ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lines, _ := logLines(t, slog.LevelDebug, request("GET", eventPath, nil, "X-API-KEY: "+key, "X-Request-Id: "+key))
	require.Len(t, lines, 1)
	require.Equal(t, "[redacted]", lines[0]["request_id"])
}

func TestCookiesDoNotHideTheCause(t *testing.T) {
	t.Parallel()
	storeError := withStore(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
		return chargeingest.AppendResult{}, fmt.Errorf("database is locked: %w", chargeingest.ErrNotStored)
	}))
	lines, _ := logLines(t, slog.LevelDebug, request("POST", eventPath, strings.NewReader(event()), "Cookie: a=database; b=locked; c=POST"), storeError)
	require.Len(t, lines, 1)
	require.Equal(t, "database is locked: nothing was stored", lines[0]["error"])
	require.Equal(t, "POST", lines[0]["method"])
}

func TestSessionWithOtherHeader(t *testing.T) {
	t.Parallel()
	session := withPrincipal(func(r *http.Request) chargeingest.Principal {
		c, err := r.Cookie("sid")
		require.NoError(t, err)
		return chargeingest.Principal{Subject: c.Value, Platforms: []string{"acme"}}
	})
	for _, header := range []string{"X-Api-Key: decoy", "Authorization: Basic cHJveHk6cHJveHk="} {
		_, text := logLines(t, slog.LevelDebug, request("GET", eventPath, nil, "-X-API-KEY", header, "Cookie: sid=secret-of-a-session"), session)
		require.NotContains(t, text, "secret-of-a-session", header)
	}
}

func TestFieldCutWithinASecret(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	for before := 90; before < 128; before++ {
		name := strings.Repeat("x", before) + secret
		lines, _ := logLines(t, slog.LevelDebug, request("POST", eventPath, strings.NewReader(event(quoted(name)+":1")), "X-API-KEY: "+secret),
			withPrincipal(func(*http.Request) chargeingest.Principal { return chargeingest.Principal{Platforms: []string{"acme"}} }))
		require.Len(t, lines, 1)
		require.NotContains(t, lines[0]["field"], secret[:4], "%d characters before the secret", before)
	}
}

func TestCredentialsInOtherForms(t *testing.T) {
	t.Parallel()
	inJSON := func(s string) string {
		text, err := json.Marshal(map[string]string{"token": s})
		require.NoError(t, err)
		return string(text)
	}
	const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	for _, c := range []struct{ name, header, text, part string }{
		{"JSON with HTML escapes", "X-Api-Key: first<second>third", inJSON("first<second>third"), "second"},
		{"JSON of a key with an ampersand", "X-Api-Key: first&second", inJSON("first&second"), "second"},
		{"JSON of a control character", "X-Api-Key: first\tsecond", inJSON("first\tsecond"), "second"},
		{"JSON without HTML escapes", "X-Api-Key: first\x01<second", `{"token":"first\u0001<second"}`, "second"},
		{"%q twice", `X-Api-Key: first"second`, fmt.Sprintf("%q", fmt.Sprintf("%q", `first"second`)), "second"},
		{"a query with lower-case escapes", "X-Api-Key: first/second", "GET /?key=first%2fsecond", "second"},
		{"a cookie with plus signs, decoded", "Cookie: sid=first+second", "no session first second", "second"},
		{"another case", "X-Api-Key: ABCDEF0123456789", "no key abcdef0123456789", "abcdef"},
		{"the signature of a token", "Authorization: Bearer " + jwt, `signature "c2lnbmF0dXJl" does not verify`, "c2lnbmF0"},
		{"the value of a signed cookie", "Cookie: sid=s%3Asession-id.signature", "no session session-id", "session-id"},
	} {
		t.Run(c.name, func(t *testing.T) { require.NotContains(t, loggedError(t, c.text, c.header), c.part) })
	}
}

package chargeingest_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestCredentialHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, header := range map[string]string{
		"X-API-KEY":                        "X-API-KEY: " + fullSecret,
		"x-api-key":                        "x-api-key: " + fullSecret,
		"Authorization: Bearer":            "Authorization: Bearer " + fullSecret,
		"a lower-case scheme":              "Authorization: bearer " + fullSecret,
		"an upper-case scheme":             "Authorization: BEARER " + fullSecret,
		"a mixed-case scheme":              "Authorization: bEaReR " + fullSecret,
		"spaces and tabs around the value": "Authorization: \t Bearer  " + fullSecret + " \t",
		"a lower-case header name":         "authorization: Bearer " + fullSecret,
	} {
		t.Run(name, func(t *testing.T) {
			stored := f.post(t, eventPath, event(), "-X-API-KEY", header).requireStored(t)
			require.Equal(t, http.StatusOK, f.get(t, eventPath+"/"+stored["id"].(string), "-X-API-KEY", header).status)
		})
	}
}

func TestMissingOrInvalidCredential(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		name    string
		headers []string
	}{
		{"no credential", []string{"-X-API-KEY"}},
		{"an unknown key", []string{"X-API-KEY: " + wrongSecret}},
		{"a prefix of a valid key", []string{"X-API-KEY: " + fullSecret[:len(fullSecret)-1]}},
		{"a valid key with a suffix", []string{"X-API-KEY: " + fullSecret + "x"}},
		{"a valid key in another case", []string{"X-API-KEY: " + strings.ToUpper(fullSecret)}},
		{"an empty key", []string{"X-API-KEY: "}},
		{"an unknown token", []string{"-X-API-KEY", "Authorization: Bearer " + wrongSecret}},
		{"an empty token", []string{"-X-API-KEY", "Authorization: Bearer "}},
		{"a scheme without a token", []string{"-X-API-KEY", "Authorization: Bearer"}},
		{"a token without a scheme", []string{"-X-API-KEY", "Authorization: " + fullSecret}},
		{"another scheme", []string{"-X-API-KEY", "Authorization: Basic " + fullSecret}},
		{"an empty Authorization", []string{"-X-API-KEY", "Authorization: "}},
		{"a tab after the scheme", []string{"-X-API-KEY", "Authorization: Bearer\t" + fullSecret}},
		{"a no-break space after the token", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret + "\u00a0"}},
		{"a line break after the token", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret + "\n"}},
		{"a no-break space before the scheme", []string{"-X-API-KEY", "Authorization: \u00a0Bearer " + fullSecret}},
		{"a scheme that starts with Bearer", []string{"-X-API-KEY", "Authorization: Bearertoken " + fullSecret}},
		{"two keys in one header", []string{"X-API-KEY: " + fullSecret + ", " + fullSecret}},
		{"two tokens in one header", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret + ", Bearer " + fullSecret}},
		{"a key in quotes", []string{"X-API-KEY: \"" + fullSecret + "\""}},
		{"a key with a space", []string{"X-API-KEY: " + fullSecret[:5] + " " + fullSecret[5:]}},
		{"a key in the query string", []string{"-X-API-KEY", "query"}},
		{"an invalid key next to a valid token", []string{"X-API-KEY: " + wrongSecret, "Authorization: Bearer " + fullSecret}},
		{"an empty key next to a valid token", []string{"X-API-KEY: ", "Authorization: Bearer " + fullSecret}},
		{"two X-API-KEY headers", []string{"X-API-KEY: " + fullSecret, "X-API-KEY: " + fullSecret}},
		{"two X-API-KEY headers next to a valid token", []string{"X-API-KEY: " + fullSecret, "X-API-KEY: " + wrongSecret, "Authorization: Bearer " + fullSecret}},
		{"two Authorization headers", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret, "Authorization: Bearer " + fullSecret}},
		{"two Authorization headers next to a valid key", []string{"X-API-KEY: " + fullSecret, "Authorization: Bearer " + fullSecret, "Authorization: Bearer " + fullSecret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range everyRoute {
				path, headers := r.path, c.headers
				if headers[len(headers)-1] == "query" {
					path, headers = path+"?x-api-key="+fullSecret+"&api_key="+fullSecret, headers[:1]
				}
				resp := f.send(t, r.method, path, r.body, "x", headers...)
				resp.requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
				require.Equal(t, "Bearer", resp.header.Get("WWW-Authenticate"), "WWW-Authenticate of a 401")
			}
		})
	}
	f.requireNothingStored(t)
}

func TestAPIKeyPrecedesBearer(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{"an invalid token": wrongSecret, "a token of another platform": otherSecret} {
		t.Run("a valid key next to "+name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, eventPath, event(), "Authorization: Bearer "+token).requireStored(t)
			require.Len(t, f.list(t, "pf_a"), 1)
			require.Empty(t, f.list(t, "pf_c"))
		})
	}
}

func TestRepeatedCredentialHeader(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, header := range map[string]string{"X-API-KEY": "X-API-KEY: " + fullSecret, "Authorization": "Authorization: Bearer " + fullSecret} {
		t.Run(name, func(t *testing.T) {
			status, _ := f.postRaw(t, header+"\r\n"+header+"\r\n", event())
			require.Equal(t, http.StatusUnauthorized, status)
		})
	}
	f.requireNothingStored(t)
}

func TestBodyIsReadAfterAuthorization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{eventPath, eventsPath} {
		for name, headers := range map[string][]string{
			"no credential":                {"-X-API-KEY"},
			"an invalid credential":        {"X-API-KEY: " + wrongSecret},
			"no permission":                {"X-API-KEY: " + viewSecret},
			"a platform of another caller": {"x-platform-id: pf_c"},
		} {
			t.Run(name+" for "+path, func(t *testing.T) {
				resp := responseOf(t, f.handler, request(http.MethodPost, path, unreadBody{t}, headers...))
				require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, resp.status)
			})
		}
	}
	t.Run("a failing authorizer", func(t *testing.T) {
		f := newFixture(t, withAuthorizer(failingAuthorizer(errors.New("down"))))
		responseOf(t, f.handler, request(http.MethodPost, eventPath, unreadBody{t})).requireRetryable(t, true)
	})
	t.Run("no 100 Continue to an unauthorized client", func(t *testing.T) {
		status, continued := newFixture(t).postRaw(t, "Expect: 100-continue\r\nX-API-KEY: "+wrongSecret+"\r\n", event())
		require.Equal(t, http.StatusUnauthorized, status)
		require.False(t, continued)
	})
	t.Run("100 Continue to an authorized client", func(t *testing.T) {
		status, continued := newFixture(t).postRaw(t, "Expect: 100-continue\r\nX-API-KEY: "+fullSecret+"\r\n", event())
		require.Equal(t, http.StatusCreated, status)
		require.True(t, continued)
	})
}

func TestMissingPermission(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, r := range everyRoute {
		secret := viewSecret
		if r.permission == "METER_DATA.VIEW" {
			secret = ingestSecret
		}
		t.Run(r.name, func(t *testing.T) {
			resp := f.send(t, r.method, r.path, r.body, "x", "X-API-KEY: "+secret)
			resp.requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED", "")
			require.Empty(t, resp.header.Values("WWW-Authenticate"))
		})
	}
	f.requireNothingStored(t)
}

func failingAuthorizer(err error) chargeingest.Authorizer {
	return chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, err
	})
}

func TestAuthorizerErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		status int
	}{
		{"no credential is 401", chargeingest.ErrNoCredential, http.StatusUnauthorized},
		{"an invalid credential is 401", chargeingest.ErrInvalidCredential, http.StatusUnauthorized},
		{"a wrapped invalid credential is 401", fmt.Errorf("token: %w", chargeingest.ErrInvalidCredential), http.StatusUnauthorized},
		{"forbidden is 403", chargeingest.ErrForbidden, http.StatusForbidden},
		{"a wrapped forbidden is 403", fmt.Errorf("role: %w", chargeingest.ErrForbidden), http.StatusForbidden},
		{"any other error is 503", errors.New("key server down"), http.StatusServiceUnavailable},
	} {
		for _, r := range everyRoute {
			t.Run(c.name+" for "+r.name, func(t *testing.T) {
				store := memstore.New()
				f := newFixture(t, withStore(store), withAuthorizer(failingAuthorizer(c.err)))
				resp := f.send(t, r.method, r.path, r.body, "x")
				require.Equal(t, c.status, resp.status)
				switch c.status {
				case http.StatusUnauthorized:
					resp.requireError(t, c.status, "UNAUTHORISED", "")
					require.Equal(t, "Bearer", resp.header.Get("WWW-Authenticate"))
				case http.StatusForbidden:
					resp.requireError(t, c.status, "USER_NOT_ALLOWED", "")
				default:
					resp.requireRetryable(t, true)
					require.NotContains(t, resp.text, "key server", "only the log contains the cause")
					require.Contains(t, f.log.text(), "key server down")
				}
				newFixture(t, withStore(store)).requireNothingStored(t)
			})
		}
	}
	t.Run("a panic is 500", func(t *testing.T) {
		store := memstore.New()
		f := newFixture(t, withStore(store), withAuthorizer(chargeingest.AuthorizerFunc(
			func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) { panic("no such table") })))
		f.post(t, eventPath, event()).requireRetryable(t, false)
		newFixture(t, withStore(store)).requireNothingStored(t)
	})
}

type retryAfterError time.Duration

func (retryAfterError) Error() string { return "key server down" }

func (e retryAfterError) RetryAfter() time.Duration { return time.Duration(e) }

func TestAuthorizerRetryAfter(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{
		-time.Second:            "1",
		0:                       "1",
		time.Millisecond:        "1",
		9 * time.Second:         "9",
		9*time.Second + 1:       "10",
		100 * time.Hour:         "360000",
		math.MaxInt64:           "9223372037",
		1500 * time.Millisecond: "2",
	} {
		f := newFixture(t, withAuthorizer(chargeingest.FirstOf(failingAuthorizer(fmt.Errorf("tokens: %w", retryAfterError(after))))))
		resp := f.post(t, eventPath, event())
		resp.requireRetryable(t, true)
		require.Equal(t, want, resp.header.Get("Retry-After"))
	}
	f := newFixture(t, withAuthorizer(failingAuthorizer(fmt.Errorf("%w: %w", chargeingest.ErrInvalidCredential, retryAfterError(time.Minute)))))
	resp := f.post(t, eventPath, event())
	resp.requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
	require.Empty(t, resp.header.Get("Retry-After"))
}

func TestFirstOf(t *testing.T) {
	t.Parallel()
	allow := chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{Platforms: []string{"pf_a"}}, nil
	})
	for _, c := range []struct {
		name   string
		first  error
		status int
	}{
		{"no credential: the next authorizer decides", chargeingest.ErrNoCredential, http.StatusCreated},
		{"wrapped, no credential: the next authorizer decides", fmt.Errorf("cookie: %w", chargeingest.ErrNoCredential), http.StatusCreated},
		{"an invalid credential is final", chargeingest.ErrInvalidCredential, http.StatusUnauthorized},
		{"a missing permission is final", chargeingest.ErrForbidden, http.StatusForbidden},
		{"an error is final", errors.New("down"), http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, withAuthorizer(chargeingest.FirstOf(failingAuthorizer(c.first), allow)))
			require.Equal(t, c.status, f.post(t, eventPath, event()).status)
		})
	}
	t.Run("no authorizer finds a credential", func(t *testing.T) {
		f := newFixture(t, withAuthorizer(chargeingest.FirstOf(failingAuthorizer(chargeingest.ErrNoCredential), failingAuthorizer(chargeingest.ErrNoCredential))))
		f.post(t, eventPath, event()).requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
	})
	t.Run("Keys ignore other schemes and reject invalid keys", func(t *testing.T) {
		f := newFixture(t, withAuthorizer(chargeingest.FirstOf(newKeySet(t), allow)))
		f.post(t, eventPath, event(), "-X-API-KEY", "Authorization: Basic dTpw").requireStored(t)
		f.post(t, eventPath, event(), "X-API-KEY: "+wrongSecret).requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
	})
}

package chargeingest_test

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net"
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
		"X-API-KEY":                             "X-API-KEY: " + fullSecret,
		"X-API-KEY in another case":             "x-api-key: " + fullSecret,
		"Authorization: Bearer":                 "Authorization: Bearer " + fullSecret,
		"the scheme in lower case":              "Authorization: bearer " + fullSecret,
		"the scheme in upper case":              "Authorization: BEARER " + fullSecret,
		"the scheme in mixed case":              "Authorization: bEaReR " + fullSecret,
		"spaces and tabs around it":             "Authorization: \t Bearer  " + fullSecret + " \t",
		"the header's name in another case too": "authorization: Bearer " + fullSecret,
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
		{"none", []string{"-X-API-KEY"}},
		{"a key that nobody has", []string{"X-API-KEY: " + wrongSecret}},
		{"a key that starts as a real one does", []string{"X-API-KEY: " + fullSecret[:len(fullSecret)-1]}},
		{"a real key with more behind it", []string{"X-API-KEY: " + fullSecret + "x"}},
		{"a key in another case", []string{"X-API-KEY: " + strings.ToUpper(fullSecret)}},
		{"an empty key", []string{"X-API-KEY: "}},
		{"a token that nobody has", []string{"-X-API-KEY", "Authorization: Bearer " + wrongSecret}},
		{"an empty token", []string{"-X-API-KEY", "Authorization: Bearer "}},
		{"a scheme without a token", []string{"-X-API-KEY", "Authorization: Bearer"}},
		{"a token without a scheme", []string{"-X-API-KEY", "Authorization: " + fullSecret}},
		{"another scheme", []string{"-X-API-KEY", "Authorization: Basic " + fullSecret}},
		{"an empty Authorization", []string{"-X-API-KEY", "Authorization: "}},
		{"a tab behind the scheme", []string{"-X-API-KEY", "Authorization: Bearer\t" + fullSecret}},
		{"a no-break space behind the token", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret + "\u00a0"}},
		{"a line break behind the token", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret + "\n"}},
		{"a no-break space before the scheme", []string{"-X-API-KEY", "Authorization: \u00a0Bearer " + fullSecret}},
		{"a scheme that starts as Bearer does", []string{"-X-API-KEY", "Authorization: Bearertoken " + fullSecret}},
		{"two keys in one header", []string{"X-API-KEY: " + fullSecret + ", " + fullSecret}},
		{"two tokens in one header", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret + ", Bearer " + fullSecret}},
		{"a key in quotes", []string{"X-API-KEY: \"" + fullSecret + "\""}},
		{"a key with a space in it", []string{"X-API-KEY: " + fullSecret[:5] + " " + fullSecret[5:]}},
		{"a key in the query string", []string{"-X-API-KEY", "query"}},
		{"both headers sent, and the key is invalid: no valid token rescues it", []string{"X-API-KEY: " + wrongSecret, "Authorization: Bearer " + fullSecret}},
		{"both headers sent, and the key is empty", []string{"X-API-KEY: ", "Authorization: Bearer " + fullSecret}},
		{"X-API-KEY sent twice", []string{"X-API-KEY: " + fullSecret, "X-API-KEY: " + fullSecret}},
		{"X-API-KEY sent twice, beside a valid token", []string{"X-API-KEY: " + fullSecret, "X-API-KEY: " + wrongSecret, "Authorization: Bearer " + fullSecret}},
		{"Authorization sent twice", []string{"-X-API-KEY", "Authorization: Bearer " + fullSecret, "Authorization: Bearer " + fullSecret}},
		{"Authorization sent twice, beside a valid key", []string{"X-API-KEY: " + fullSecret, "Authorization: Bearer " + fullSecret, "Authorization: Bearer " + fullSecret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range everyRoute {
				path, headers := r.path, c.headers
				if headers[len(headers)-1] == "query" {
					path, headers = path+"?x-api-key="+fullSecret+"&api_key="+fullSecret, headers[:1]
				}
				a := f.send(t, r.method, path, r.body, "x", headers...)
				a.requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
				require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"), "401 carries WWW-Authenticate")
			}
		})
	}
	f.requireNothingStored(t)
}

func TestAPIKeyPrecedesBearer(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{"an invalid token": wrongSecret, "a token of another platform": otherSecret} {
		t.Run("a valid key beside "+name, func(t *testing.T) {
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
			status, _ := f.exchangeRaw(t, header+"\r\n"+header+"\r\n", event())
			require.Equal(t, http.StatusUnauthorized, status)
		})
	}
	f.requireNothingStored(t)
}

// exchangeRaw writes a POST of one event by hand and returns the status of the
// response, and whether the server asked for the body before it.
func (f *fixture) exchangeRaw(t *testing.T, headers, body string) (status int, continued bool) {
	t.Helper()
	srv := f.serve(t)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n%s\r\n", eventPath, len(body), headers)
	require.NoError(t, err)
	expects := strings.Contains(headers, "Expect:")
	if !expects {
		_, err = conn.Write([]byte(body))
		require.NoError(t, err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	if expects && res.StatusCode == http.StatusContinue {
		continued = true
		_, err = conn.Write([]byte(body))
		require.NoError(t, err)
		res, err = http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	return res.StatusCode, continued
}

func TestBodyIsReadAfterAuthorization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{eventPath, eventsPath} {
		for name, headers := range map[string][]string{
			"no credential":      {"-X-API-KEY"},
			"a bad credential":   {"X-API-KEY: " + wrongSecret},
			"no permission":      {"X-API-KEY: " + viewSecret},
			"a foreign platform": {"x-platform-id: pf_c"},
		} {
			t.Run(name+" for "+path, func(t *testing.T) {
				a := responseOf(t, f.handler, request(http.MethodPost, path, unreadBody{t}, headers...))
				require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, a.status)
			})
		}
	}
	t.Run("an authorizer that fails", func(t *testing.T) {
		f := newFixture(t, authorizedBy(failing(errors.New("down"))))
		responseOf(t, f.handler, request(http.MethodPost, eventPath, unreadBody{t})).requireRetryable(t, true)
	})
	t.Run("a client that expects 100-continue is not asked for it", func(t *testing.T) {
		status, continued := newFixture(t).exchangeRaw(t, "Expect: 100-continue\r\nX-API-KEY: "+wrongSecret+"\r\n", event())
		require.Equal(t, http.StatusUnauthorized, status)
		require.False(t, continued)
	})
	t.Run("an authorized client that expects 100-continue is", func(t *testing.T) {
		status, continued := newFixture(t).exchangeRaw(t, "Expect: 100-continue\r\nX-API-KEY: "+fullSecret+"\r\n", event())
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
			a := f.send(t, r.method, r.path, r.body, "x", "X-API-KEY: "+secret)
			a.requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED", "")
			require.Empty(t, a.header.Values("WWW-Authenticate"))
		})
	}
	f.requireNothingStored(t)
}

func TestPlatformHeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		headers  []string
		platform string
	}{
		"absent, the principal's default": {nil, "pf_a"},
		"the default by its name":         {[]string{"x-platform-id: pf_a"}, "pf_a"},
		"another of the principal's":      {[]string{"X-PLATFORM-ID: pf_b"}, "pf_b"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, eventPath, event(), c.headers...).requireStored(t)
			for _, platform := range []string{"pf_a", "pf_b", "pf_c"} {
				want := 0
				if platform == c.platform {
					want = 1
				}
				require.Len(t, f.list(t, platform), want, platform)
			}
		})
	}
	t.Run("not one of the principal's is 403, the same whether or not it exists", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventPath, event(), "X-API-KEY: "+otherSecret).requireStored(t) // pf_c exists now
		for _, r := range everyRoute {
			there := f.send(t, r.method, r.path, r.body, "x", "x-platform-id: pf_c", "X-REQUEST-ID: one")
			there.requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED", "")
			for _, platform := range []string{"pf_z", "PF_A", "", "pf_a,pf_b", " "} {
				nowhere := f.send(t, r.method, r.path, r.body, "x", "x-platform-id: "+platform, "X-REQUEST-ID: one")
				require.Equal(t, there, nowhere, "%q", platform)
			}
		}
		require.Len(t, f.list(t, "pf_c"), 1)
		require.Empty(t, f.list(t, "pf_a"))
	})
	t.Run("lacking the permission and lacking the platform look the same", func(t *testing.T) {
		f := newFixture(t)
		platform := f.post(t, eventPath, event(), "x-platform-id: pf_c", "X-REQUEST-ID: one")
		permission := f.post(t, eventPath, event(), "X-API-KEY: "+viewSecret, "X-REQUEST-ID: one")
		require.Equal(t, platform, permission)
	})
}

func TestPlatformIsolation(t *testing.T) {
	t.Parallel()
	const onB = "x-platform-id: pf_b"
	t.Run("a reference is unique on each for itself", func(t *testing.T) {
		f := newFixture(t)
		a := f.post(t, eventPath, event(`"reference":"r"`, `"description":"A"`)).requireStored(t)
		b := f.post(t, eventPath, event(`"reference":"r"`, `"description":"B"`), onB).requireStored(t)
		require.NotEqual(t, a["id"], b["id"])
		require.Equal(t, []any{a}, f.list(t, "pf_a"))
		require.Equal(t, []any{b}, f.list(t, "pf_b"))
	})
	t.Run("an id leads nowhere on another", func(t *testing.T) {
		f := newFixture(t)
		id := f.post(t, eventPath, event()).requireStored(t)["id"].(string)
		f.get(t, eventPath+"/"+id, onB).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
	})
	t.Run("a list shows its own, whatever the filter or the cursor", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"customer_id":"c"`)).requireStored(t)["id"].(string)
		f.post(t, eventPath, event(`"customer_id":"c"`)).requireStored(t)
		require.Empty(t, f.get(t, eventPath+"?customer_id=c", onB).body["data"])
		f.post(t, eventPath, event(`"customer_id":"c"`), onB).requireStored(t)
		cursor := f.get(t, eventPath+"?limit=1").body["next"].(string)
		require.Contains(t, f.get(t, eventPath+"?after="+cursor).text, first)
		require.NotContains(t, f.get(t, eventPath+"?after="+cursor, onB).text, first)
	})
	t.Run("an idempotency key is bound on each for itself", func(t *testing.T) {
		f := newFixture(t)
		a := f.post(t, eventPath, event(`"description":"A"`), "Idempotency-Key: k").requireStored(t)
		b := f.post(t, eventPath, event(`"description":"B"`), "Idempotency-Key: k", onB).requireStored(t)
		require.NotEqual(t, a["id"], b["id"])
	})
}

// failing is an authorizer that returns an error.
func failing(err error) chargeingest.Authorizer {
	return chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, err
	})
}

func TestPrincipalWithoutPlatform(t *testing.T) {
	t.Parallel()
	for name, platforms := range map[string][]string{"none": nil, "an empty one": {""}} {
		for _, r := range everyRoute {
			t.Run(name+" for "+r.name, func(t *testing.T) {
				f := newFixture(t, authorizedBy(chargeingest.AuthorizerFunc(
					func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
						return chargeingest.Principal{Subject: "test", Platforms: platforms}, nil
					})))
				f.send(t, r.method, r.path, r.body, "x").requireRetryable(t, false)
				require.Contains(t, f.log.text(), "without a platform")
			})
		}
	}
	t.Run("a single-tenant host says so with DefaultPlatform", func(t *testing.T) {
		f := newFixture(t, authorizedBy(chargeingest.AuthorizerFunc(
			func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
				return chargeingest.Principal{Platforms: []string{chargeingest.DefaultPlatform}}, nil
			})))
		f.post(t, eventPath, event()).requireStored(t)
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
		{"a bad credential is 401", chargeingest.ErrInvalidCredential, http.StatusUnauthorized},
		{"a wrapped bad credential is 401", fmt.Errorf("token: %w", chargeingest.ErrInvalidCredential), http.StatusUnauthorized},
		{"forbidden is 403", chargeingest.ErrForbidden, http.StatusForbidden},
		{"a wrapped forbidden is 403", fmt.Errorf("role: %w", chargeingest.ErrForbidden), http.StatusForbidden},
		{"any other failure is 503, never 401 and never an accept", errors.New("key server down"), http.StatusServiceUnavailable},
	} {
		for _, r := range everyRoute {
			t.Run(c.name+" for "+r.name, func(t *testing.T) {
				store := memstore.New()
				f := newFixture(t, over(store), authorizedBy(failing(c.err)))
				a := f.send(t, r.method, r.path, r.body, "x")
				require.Equal(t, c.status, a.status)
				switch c.status {
				case http.StatusUnauthorized:
					a.requireError(t, c.status, "UNAUTHORISED", "")
					require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
				case http.StatusForbidden:
					a.requireError(t, c.status, "USER_NOT_ALLOWED", "")
				default:
					a.requireRetryable(t, true)
					require.NotContains(t, a.text, "key server", "the cause is in the log alone")
					require.Contains(t, f.log.text(), "key server down")
				}
				newFixture(t, over(store)).requireNothingStored(t)
			})
		}
	}
	t.Run("a panic is a 500, never an accept", func(t *testing.T) {
		store := memstore.New()
		f := newFixture(t, over(store), authorizedBy(chargeingest.AuthorizerFunc(
			func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) { panic("no such table") })))
		f.post(t, eventPath, event()).requireRetryable(t, false)
		newFixture(t, over(store)).requireNothingStored(t)
	})
}

// laterError is an authorizer's error that says how long it will last.
type laterError time.Duration

func (laterError) Error() string               { return "key server down" }
func (e laterError) RetryAfter() time.Duration { return time.Duration(e) }

func TestRetryAfterOfAnAuthorizer(t *testing.T) {
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
		f := newFixture(t, authorizedBy(chargeingest.FirstOf(failing(fmt.Errorf("tokens: %w", laterError(after))))))
		a := f.post(t, eventPath, event())
		a.requireRetryable(t, true)
		require.Equal(t, want, a.header.Get("Retry-After"))
	}
	f := newFixture(t, authorizedBy(failing(fmt.Errorf("%w: %w", chargeingest.ErrInvalidCredential, laterError(time.Minute)))))
	a := f.post(t, eventPath, event())
	a.requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
	require.Empty(t, a.header.Get("Retry-After"))
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
		{"no credential of its kind passes on", chargeingest.ErrNoCredential, http.StatusCreated},
		{"no credential of its kind, wrapped, passes on", fmt.Errorf("cookie: %w", chargeingest.ErrNoCredential), http.StatusCreated},
		{"a bad credential does not", chargeingest.ErrInvalidCredential, http.StatusUnauthorized},
		{"a missing permission does not", chargeingest.ErrForbidden, http.StatusForbidden},
		{"a failure does not", errors.New("down"), http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, authorizedBy(chargeingest.FirstOf(failing(c.first), allow)))
			require.Equal(t, c.status, f.post(t, eventPath, event()).status)
		})
	}
	t.Run("none finds one: 401", func(t *testing.T) {
		f := newFixture(t, authorizedBy(chargeingest.FirstOf(failing(chargeingest.ErrNoCredential), failing(chargeingest.ErrNoCredential))))
		f.post(t, eventPath, event()).requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
	})
	t.Run("the bundled keys pass another scheme on and no invalid key", func(t *testing.T) {
		f := newFixture(t, authorizedBy(chargeingest.FirstOf(newKeySet(t), allow)))
		f.post(t, eventPath, event(), "-X-API-KEY", "Authorization: Basic dTpw").requireStored(t)
		f.post(t, eventPath, event(), "X-API-KEY: "+wrongSecret).requireError(t, http.StatusUnauthorized, "UNAUTHORISED", "")
	})
}

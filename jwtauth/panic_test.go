package jwtauth_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/jwtauth"
)

// panicking is any hook of the host that panics: a log handler, a response body, an
// error and a value that cannot be printed.
type panicking struct{}

func (panicking) Enabled(context.Context, slog.Level) bool  { panic("hook") }
func (panicking) Handle(context.Context, slog.Record) error { panic("hook") }
func (p panicking) WithAttrs([]slog.Attr) slog.Handler      { return p }
func (p panicking) WithGroup(string) slog.Handler           { return p }
func (panicking) Read([]byte) (int, error)                  { panic("hook") }
func (panicking) Close() error                              { panic("hook") }
func (panicking) Error() string                             { panic("hook") }

// enabled is a log handler that panics only when it writes.
type enabled struct{ panicking }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }

func TestPanicInTransport(t *testing.T) {
	s := edSigner("k")
	for name, does := range map[string]func(*http.Request) (*http.Response, error){
		"RoundTrip":                  func(*http.Request) (*http.Response, error) { panic("hook") },
		"RoundTrip, with a value":    func(*http.Request) (*http.Response, error) { panic(panicking{}) },
		"RoundTrip, with much text":  func(*http.Request) (*http.Response, error) { panic(strings.Repeat("x", 10<<20)) },
		"RoundTrip, with the URL":    func(r *http.Request) (*http.Response, error) { panic("GET " + r.URL.String()) },
		"RoundTrip, nil dereference": func(*http.Request) (*http.Response, error) { return nil, (*failing)(nil).err },
		"runtime.Goexit":             func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"an error's text":            func(*http.Request) (*http.Response, error) { return nil, panicking{} },
		"Read of the body": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: panicking{}}, nil
		},
		"Close of the body": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: struct {
				io.Reader
				io.Closer
			}{strings.NewReader(jwks(s.jwk())), panicking{}}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLogin()
				l.does(does)
				a, log := remote(t, l, func(c *jwtauth.Config) { c.JWKSURL = jwksURL + "?code=top-secret" })
				start := time.Now()
				requireUnavailable(t, authorize(a, s.token(everlasting())))
				require.Zero(t, time.Since(start), "the request is answered at once")
				require.Contains(t, log.String(), "could not be fetched")
				requireBrief(t, a, log)

				l.has(s)
				pass(10 * time.Second)
				require.NoError(t, authorize(a, s.token(everlasting())), "the refresh goes on")
			})
		})
	}
}

func TestPanicInLogger(t *testing.T) {
	for name, handler := range map[string]slog.Handler{"Enabled": panicking{}, "Handle": enabled{}, "runtime.Goexit": exiting{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, next := edSigner("k"), edSigner("next")
				l := newLogin(s)
				a, _ := remote(t, l, func(c *jwtauth.Config) { c.Logger = slog.New(handler) })
				require.NoError(t, authorize(a, s.token(everlasting())))
				pass(15 * time.Minute)
				l.isDown()
				pass(15 * time.Minute)
				requireUnavailable(t, authorize(a, next.token(everlasting())))
				l.has(next)
				pass(10 * time.Second)
				require.NoError(t, authorize(a, next.token(everlasting())))
			})
		})
	}
}

// exiting is a log handler that ends its goroutine, as t.FailNow does.
type exiting struct{ enabled }

func (exiting) Handle(context.Context, slog.Record) error { runtime.Goexit(); return nil }

func TestPanicInClock(t *testing.T) {
	s := edSigner("k")
	cfg := config(s)
	broken := true
	cfg.Now = func() time.Time {
		if broken {
			panic("hook")
		}
		return now
	}
	a := newAuthorizer(t, cfg)
	for range 100 { // more than there are slots
		require.PanicsWithValue(t, "hook", func() { _ = authorize(a, s.token(claims())) })
	}
	broken = false
	require.NoError(t, authorize(a, s.token(claims())))
}

func TestLogLinesAreShort(t *testing.T) {
	long := strings.Repeat("x", 8_000)
	s := edSigner("k")
	many := []map[string]any{s.jwk()}
	for range 127 {
		many = append(many, map[string]any{"kty": long, "kid": long[:10], "alg": long[:10], "crv": long[:10], "use": "sig"})
	}
	for name, does := range map[string]func(l *login){
		"a set of keys that cannot be used": func(l *login) { l.says(http.StatusOK, jwks(many[1:]...)) },
		"one key of 128":                    func(l *login) { l.says(http.StatusOK, jwks(many...)) },
		"a long response":                   func(l *login) { l.says(http.StatusOK, strings.Repeat("x", 2<<20)) },
		"a long error":                      func(l *login) { l.says(http.StatusBadGateway, strings.Repeat("x", 2<<20)) },
		"a long panic": func(l *login) {
			l.does(func(*http.Request) (*http.Response, error) { panic(strings.Repeat("x", 2<<20)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLogin()
				does(l)
				_, log := remote(t, l)
				synctest.Wait()
				require.Equal(t, 1, strings.Count(log.String(), "\n"))
				require.Less(t, len(log.String()), 2<<10)
			})
		})
	}
}

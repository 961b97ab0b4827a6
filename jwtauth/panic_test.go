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

type panicking struct{}

func (panicking) Enabled(context.Context, slog.Level) bool { panic("hook") }

func (panicking) Handle(context.Context, slog.Record) error { panic("hook") }

func (p panicking) WithAttrs([]slog.Attr) slog.Handler { return p }

func (p panicking) WithGroup(string) slog.Handler { return p }

func (panicking) Read([]byte) (int, error) { panic("hook") }

func (panicking) Close() error { panic("hook") }

type panickingError struct{}

func (panickingError) Error() string { panic("hook") }

type panickingHandle struct{ panicking }

func (panickingHandle) Enabled(context.Context, slog.Level) bool { return true }

func TestPanicInTransport(t *testing.T) {
	s := edSigner("k")
	for name, handler := range map[string]func(*http.Request) (*http.Response, error){
		"RoundTrip":                  func(*http.Request) (*http.Response, error) { panic("hook") },
		"RoundTrip, with a value":    func(*http.Request) (*http.Response, error) { panic(panickingError{}) },
		"RoundTrip, with much text":  func(*http.Request) (*http.Response, error) { panic(strings.Repeat("x", 10<<20)) },
		"RoundTrip, with the URL":    func(r *http.Request) (*http.Response, error) { panic("GET " + r.URL.String()) },
		"RoundTrip, nil dereference": func(*http.Request) (*http.Response, error) { return nil, (*failingBody)(nil).err },
		"runtime.Goexit":             func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"Error of the error":         func(*http.Request) (*http.Response, error) { return nil, panickingError{} },
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
				l := newLoginServer()
				l.handle(handler)
				a, log := newRemote(t, l, func(c *jwtauth.Config) { c.JWKSURL = jwksURL + "?code=top-secret" })
				start := time.Now()
				requireUnavailable(t, authorize(a, s.token(longLived())))
				require.Zero(t, time.Since(start), "the request does not wait")
				require.Contains(t, log.String(), "JWKS fetch failed")
				requireShortErrors(t, a, log)

				l.serveKeys(s)
				advance(10 * time.Second)
				require.NoError(t, authorize(a, s.token(longLived())), "the refresh continues")
			})
		})
	}
}

func TestPanicInLogger(t *testing.T) {
	for name, handler := range map[string]slog.Handler{"Enabled": panicking{}, "Handle": panickingHandle{}, "runtime.Goexit": exitingHandler{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, next := edSigner("k"), edSigner("next")
				l := newLoginServer(s)
				a, _ := newRemote(t, l, func(c *jwtauth.Config) { c.Logger = slog.New(handler) })
				require.NoError(t, authorize(a, s.token(longLived())))
				advance(15 * time.Minute)
				l.goDown()
				advance(15 * time.Minute)
				requireUnavailable(t, authorize(a, next.token(longLived())))
				l.serveKeys(next)
				advance(10 * time.Second)
				require.NoError(t, authorize(a, next.token(longLived())))
			})
		})
	}
}

type exitingHandler struct{ panickingHandle }

func (exitingHandler) Handle(context.Context, slog.Record) error { runtime.Goexit(); return nil }

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
	for range 100 {
		require.PanicsWithValue(t, "hook", func() { _ = authorize(a, s.token(claims())) })
	}
	broken = false
	require.NoError(t, authorize(a, s.token(claims())))
}

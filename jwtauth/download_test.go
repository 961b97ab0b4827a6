package jwtauth_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/jwtauth"
)

type endlessBody struct{ read int }

func (e *endlessBody) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

type truncatedBody struct{ io.Reader }

func (b *truncatedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestEndlessAndTruncatedResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		serve := func(body io.Reader) {
			l.handle(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
			})
		}
		body := new(endlessBody)
		serve(body)
		a, log := newRemote(t, l)
		requireUnavailable(t, authorize(a, s.token(longLived())))
		require.LessOrEqual(t, body.read, 2<<20)

		serve(&truncatedBody{strings.NewReader(jwks(s.jwk()))})
		advance(10 * time.Second)
		requireUnavailable(t, authorize(a, s.token(longLived())))
		require.Contains(t, log.String(), "the response is incomplete")
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		l.handle(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusFound, Body: http.NoBody,
				Header: http.Header{"Location": {"http://169.254.169.254/"}},
			}, nil
		})
		a, _ := newRemote(t, l)
		requireUnavailable(t, authorize(a, s.token(longLived())))
		require.Equal(t, 1, l.takeFetches())
		require.Empty(t, l.otherURLs)
	})
}

func fetchFrom(t *testing.T, address string) func(*jwtauth.Config) {
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return func(c *jwtauth.Config) { c.JWKSURL, c.Transport = address, transport }
}

func requireShortErrors(t *testing.T, a *jwtauth.Authorizer, log *logBuffer) {
	t.Helper()
	for _, err := range []error{authorize(a, edSigner("k").token(longLived())), a.Ready(t.Context())} {
		requireUnavailable(t, err)
		require.Less(t, len(err.Error()), 400)
		require.True(t, utf8.ValidString(err.Error()))
		require.NotContains(t, err.Error(), "top-secret")
	}
	require.Less(t, len(log.String()), 1000)
	require.NotContains(t, log.String(), "top-secret")
}

func TestFetchErrorsAreShortWithoutQuery(t *testing.T) {
	secret := jwksURL + "?code=top-secret"
	refused := errors.New("connection refused")
	for name, failure := range map[string]error{
		"ten megabytes":                    errors.New("malformed HTTP response " + strings.Repeat("x", 10<<20)),
		"many multi-byte characters":       errors.New(strings.Repeat("é", 1000) + strings.Repeat("x€", 1000)),
		"the URL in a url.Error":           &url.Error{Op: "Get", URL: secret, Err: refused},
		"the URL in the text of a wrapper": fmt.Errorf("retry failed: %w", &url.Error{Op: "Get", URL: secret, Err: refused}),
		"the URL twice":                    &url.Error{Op: "Get", URL: secret, Err: &url.Error{Op: "Get", URL: secret, Err: refused}},
		"the URL of two attempts":          errors.Join(&url.Error{Op: "Get", URL: secret, Err: refused}, &url.Error{Op: "Get", URL: secret, Err: refused}),
		"the URL of a redirect":            &url.Error{Op: "Get", URL: "https://other.test/?session=top-secret", Err: refused},
		"the URL without a cause":          &url.Error{Op: "Get", URL: secret},
		"a cause without a URL":            refused,
		"the URL as text":                  errors.New("GET " + secret + ": refused"),
		"the URL at the cut":               errors.New(strings.Repeat("x", 170) + secret),
	} {
		t.Run(name, func(t *testing.T) {
			fails := func(*http.Request) (*http.Response, error) { return nil, failure }
			truncates := func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(failingBody{failure})}, nil
			}
			for _, handler := range []func(*http.Request) (*http.Response, error){fails, truncates} {
				synctest.Test(t, func(t *testing.T) {
					l := newLoginServer()
					l.handle(handler)
					a, log := newRemote(t, l, func(c *jwtauth.Config) { c.JWKSURL = secret })
					synctest.Wait()
					requireShortErrors(t, a, log)
				})
			}
		})
	}
}

type failingBody struct{ err error }

func (f failingBody) Read([]byte) (int, error) { return 0, f.err }

func TestServerThatIsNotHTTP(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write(append(bytes.Repeat([]byte{1}, 4<<20), '\n'))
		_, _ = io.Copy(io.Discard, conn)
	}()
	a, log := newRemote(t, nil, fetchFrom(t, "http://"+listener.Addr().String()+"/?code=top-secret"))
	requireShortErrors(t, a, log)
	require.Contains(t, log.String(), "malformed HTTP")
}

func TestRedirectIsNotQuoted(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.Header().Set("Location", "https://login.test:port/jwks?"+r.URL.RawQuery) // not a valid URL
		w.WriteHeader(http.StatusFound)
	}))
	defer srv.Close()
	a, log := newRemote(t, nil, fetchFrom(t, srv.URL+"/here?code=top-secret"))
	requireShortErrors(t, a, log)
	require.Contains(t, log.String(), "the response status is 302, not 200")
	require.Equal(t, "/here", <-asked)
	require.Empty(t, asked)
}

func TestCompressedKeySet(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	for name, c := range map[string]struct {
		body string
		log  string
	}{
		"a key set":         {jwks(s.jwk()), "keys=1"},
		"two MiB of spaces": {strings.Repeat(" ", 2<<20) + jwks(s.jwk()), "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") == "gzip" {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					defer z.Close()
					_, _ = io.WriteString(z, c.body)
				}
			}))
			defer srv.Close()
			a, log := newRemote(t, nil, fetchFrom(t, srv.URL))
			err := authorize(a, s.token(claims()))
			require.Equal(t, name == "a key set", err == nil, err)
			require.Contains(t, log.String(), c.log)
		})
	}
}

type countingBody struct {
	io.Reader
	times int
}

func (c *countingBody) Close() error {
	c.times++
	return nil
}

func TestResponseBodyIsClosedOnce(t *testing.T) {
	s := edSigner("k")
	for name, c := range map[string]struct {
		status int
		body   io.Reader
	}{
		"a key set":     {http.StatusOK, strings.NewReader(jwks(s.jwk()))},
		"not a key set": {http.StatusOK, strings.NewReader("{}")},
		"an error":      {http.StatusBadGateway, strings.NewReader("bad gateway")},
		"a redirect":    {http.StatusFound, strings.NewReader("")},
		"endless":       {http.StatusOK, new(endlessBody)},
		"truncated":     {http.StatusOK, failingBody{io.ErrUnexpectedEOF}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &countingBody{Reader: c.body}
				l := newLoginServer()
				l.handle(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: c.status, Body: body}, nil
				})
				newRemote(t, l)
				synctest.Wait()
				require.Equal(t, 1, body.times)
			})
		})
	}
}

func TestTransportWithoutResponse(t *testing.T) {
	for name, res := range map[string]*http.Response{"no response and no error": nil, "no body": {StatusCode: http.StatusOK}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoginServer()
				l.handle(func(*http.Request) (*http.Response, error) { return res, nil })
				a, _ := newRemote(t, l)
				requireUnavailable(t, authorize(a, edSigner("k").token(longLived())))
			})
		})
	}
}

type slowBody struct{ ctx context.Context }

func (d slowBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

type blockedBody struct{ released <-chan struct{} }

func (d blockedBody) Read([]byte) (int, error) {
	<-d.released
	return 0, io.EOF
}

func TestFetchTimeout(t *testing.T) {
	for name, handler := range map[string]func(r *http.Request, released <-chan struct{}, late *http.Response) *http.Response{
		"a slow body": func(r *http.Request, _ <-chan struct{}, late *http.Response) *http.Response {
			late.Body = io.NopCloser(io.MultiReader(slowBody{r.Context()}, slowBody{r.Context()},
				slowBody{r.Context()}, slowBody{r.Context()}, slowBody{r.Context()}, slowBody{r.Context()}))
			return late
		},
		"a Transport that ignores its context": func(_ *http.Request, released <-chan struct{}, late *http.Response) *http.Response {
			<-released
			return late
		},
		"a body that ignores its context": func(_ *http.Request, released <-chan struct{}, late *http.Response) *http.Response {
			late.Body = io.NopCloser(io.MultiReader(blockedBody{released}, late.Body))
			return late
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, next := edSigner("k"), edSigner("next")
				l := newLoginServer(s)
				a, log := newRemote(t, l)
				require.NoError(t, authorize(a, s.token(longLived())))
				advance(time.Minute)

				released := make(chan struct{})
				l.handle(func(r *http.Request) (*http.Response, error) {
					late := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(jwks(next.jwk())))}
					return handler(r, released, late), nil
				})
				start := time.Now()
				err := authorize(a, next.token(longLived()))
				requireUnavailable(t, err)
				require.ErrorContains(t, err, "no complete response within 5s")
				require.Equal(t, 5*time.Second, time.Since(start))
				require.Contains(t, log.String(), "level=WARN")
				l.takeFetches()
				advance(time.Hour)
				require.Greater(t, l.takeFetches(), 100, "the refresh continues")

				l.serveKeys(s, next)
				advance(15 * time.Second)
				require.NoError(t, authorize(a, next.token(longLived())))
				close(released)
				synctest.Wait()
				require.NoError(t, authorize(a, s.token(longLived())), "a late response is dropped")
			})
		})
	}
}

func TestContextEndsWhileTransportHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		defer close(released)
		l := newLoginServer()
		l.handle(func(*http.Request) (*http.Response, error) {
			<-released
			return nil, errors.New("released")
		})
		ctx, cancel := context.WithCancel(t.Context())
		cfg := config()
		cfg.JWKSURL, cfg.Transport = jwksURL, l
		a, err := jwtauth.New(ctx, cfg)
		require.NoError(t, err)
		cancel()
		synctest.Wait()
		err = a.Ready(t.Context())
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "has ended")
		advance(time.Hour)
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestLogLinesAreShort(t *testing.T) {
	long := strings.Repeat("x", 8_000)
	s := edSigner("k")
	many := []map[string]any{s.jwk()}
	for range 127 {
		many = append(many, map[string]any{"kty": long, "kid": long[:10], "alg": long[:10], "crv": long[:10], "use": "sig"})
	}
	for name, setUp := range map[string]func(l *loginServer){
		"128 unusable keys":     func(l *loginServer) { l.respond(http.StatusOK, jwks(many[1:]...)) },
		"one usable key of 128": func(l *loginServer) { l.respond(http.StatusOK, jwks(many...)) },
		"a long response":       func(l *loginServer) { l.respond(http.StatusOK, strings.Repeat("x", 2<<20)) },
		"a long error":          func(l *loginServer) { l.respond(http.StatusBadGateway, strings.Repeat("x", 2<<20)) },
		"a long panic": func(l *loginServer) {
			l.handle(func(*http.Request) (*http.Response, error) { panic(strings.Repeat("x", 2<<20)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoginServer()
				setUp(l)
				_, log := newRemote(t, l)
				synctest.Wait()
				require.Equal(t, 1, strings.Count(log.String(), "\n"))
				require.Less(t, len(log.String()), 2<<10)
			})
		})
	}
}

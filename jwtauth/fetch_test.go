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

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

// at has the keys fetched over the network, from an address on loopback.
func at(t *testing.T, address string) func(*jwtauth.Config) {
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return func(c *jwtauth.Config) { c.JWKSURL, c.Transport = address, transport }
}

// requireBrief holds what is said of a failed fetch to what a log line can bear.
func requireBrief(t *testing.T, a *jwtauth.Authorizer, log *logged) {
	t.Helper()
	for _, err := range []error{authorize(a, edSigner("k").token(everlasting())), a.Ready(t.Context())} {
		requireUnavailable(t, err)
		require.Less(t, len(err.Error()), 400)
		require.True(t, utf8.ValidString(err.Error()))
		require.NotContains(t, err.Error(), "top-secret")
	}
	require.Less(t, len(log.String()), 1000)
	require.NotContains(t, log.String(), "top-secret")
}

func TestWhatIsSaidOfAFailedFetchIsShortAndHoldsNoQuery(t *testing.T) {
	secret := jwksURL + "?code=top-secret"
	refused := errors.New("connection refused")
	for name, failure := range map[string]error{
		"ten megabytes":                   errors.New("malformed HTTP response " + strings.Repeat("x", 10<<20)),
		"many bytes of a character each":  errors.New(strings.Repeat("é", 1000) + strings.Repeat("x€", 1000)),
		"the URL, as http.Client has it":  &url.Error{Op: "Get", URL: secret, Err: refused},
		"the URL in a wrapper's own text": fmt.Errorf("retry failed: %w", &url.Error{Op: "Get", URL: secret, Err: refused}),
		"the URL twice":                   &url.Error{Op: "Get", URL: secret, Err: &url.Error{Op: "Get", URL: secret, Err: refused}},
		"the URL of two attempts":         errors.Join(&url.Error{Op: "Get", URL: secret, Err: refused}, &url.Error{Op: "Get", URL: secret, Err: refused}),
		"a URL that it was led to":        &url.Error{Op: "Get", URL: "https://other.test/?session=top-secret", Err: refused},
		"the URL and no cause":            &url.Error{Op: "Get", URL: secret},
		"a cause and no URL":              refused,
		"the URL as text":                 errors.New("GET " + secret + ": refused"),
		"the URL where the text is cut":   errors.New(strings.Repeat("x", 170) + secret),
	} {
		t.Run(name, func(t *testing.T) {
			fails := func(*http.Request) (*http.Response, error) { return nil, failure }
			breaksOff := func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(failing{failure})}, nil
			}
			for _, does := range []func(*http.Request) (*http.Response, error){fails, breaksOff} {
				synctest.Test(t, func(t *testing.T) {
					l := newLogin()
					l.does(does)
					a, log := remote(t, l, func(c *jwtauth.Config) { c.JWKSURL = secret })
					synctest.Wait()
					requireBrief(t, a, log)
				})
			}
		})
	}
}

// failing is a body that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestWhatIsSaidOfAServerThatSpeaksNoHTTPIsShort(t *testing.T) {
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
		_, _ = io.Copy(io.Discard, conn) // until the other side closes: else the answer is lost
	}()
	a, log := remote(t, nil, at(t, "http://"+listener.Addr().String()+"/?code=top-secret"))
	requireBrief(t, a, log)
	require.Contains(t, log.String(), "malformed HTTP")
}

func TestARedirectIsNeitherFollowedNorQuoted(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.Header().Set("Location", "https://login.test:port/jwks?"+r.URL.RawQuery) // no URL, as it happens
		w.WriteHeader(http.StatusFound)
	}))
	defer srv.Close()
	a, log := remote(t, nil, at(t, srv.URL+"/here?code=top-secret"))
	requireBrief(t, a, log)
	require.Contains(t, log.String(), "the answer is 302, not 200")
	require.Equal(t, "/here", <-asked)
	require.Empty(t, asked)
}

func TestAKeySetMayComeCompressedAndIsBoundedDecompressed(t *testing.T) {
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
			a, log := remote(t, nil, at(t, srv.URL))
			err := authorize(a, s.token(claims()))
			require.Equal(t, name == "a key set", err == nil, err)
			require.Contains(t, log.String(), c.log)
		})
	}
}

// closed counts how often a body is closed.
type closed struct {
	io.Reader
	times int
}

func (c *closed) Close() error {
	c.times++
	return nil
}

func TestTheBodyOfEveryAnswerIsClosedOnce(t *testing.T) {
	s := edSigner("k")
	for name, c := range map[string]struct {
		status int
		body   io.Reader
	}{
		"a key set":     {http.StatusOK, strings.NewReader(jwks(s.jwk()))},
		"no key set":    {http.StatusOK, strings.NewReader("{}")},
		"an error":      {http.StatusBadGateway, strings.NewReader("bad gateway")},
		"a redirect":    {http.StatusFound, strings.NewReader("")},
		"without end":   {http.StatusOK, new(endless)},
		"it breaks off": {http.StatusOK, failing{io.ErrUnexpectedEOF}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &closed{Reader: c.body}
				l := newLogin()
				l.does(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: c.status, Body: body}, nil
				})
				remote(t, l)
				synctest.Wait()
				require.Equal(t, 1, body.times)
			})
		})
	}
}

func TestATransportThatAnswersNothingIsAFetchThatFailed(t *testing.T) {
	for name, res := range map[string]*http.Response{"no answer and no error": nil, "no body": {StatusCode: http.StatusOK}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLogin()
				l.does(func(*http.Request) (*http.Response, error) { return res, nil })
				a, _ := remote(t, l)
				requireUnavailable(t, authorize(a, edSigner("k").token(everlasting())))
			})
		})
	}
}

// dripping is a body that brings a byte in a second.
type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// deaf is a body that brings nothing until it is released, whatever happens.
type deaf struct{ released <-chan struct{} }

func (d deaf) Read([]byte) (int, error) {
	<-d.released
	return 0, io.EOF
}

func TestAFetchEndsAfterFiveSecondsWhateverTheTransportDoes(t *testing.T) {
	for name, does := range map[string]func(r *http.Request, released <-chan struct{}, late *http.Response) *http.Response{
		"a body that drips": func(r *http.Request, _ <-chan struct{}, late *http.Response) *http.Response {
			late.Body = io.NopCloser(io.MultiReader(dripping{r.Context()}, dripping{r.Context()},
				dripping{r.Context()}, dripping{r.Context()}, dripping{r.Context()}, dripping{r.Context()}))
			return late
		},
		"a Transport that does not heed its context": func(_ *http.Request, released <-chan struct{}, late *http.Response) *http.Response {
			<-released
			return late
		},
		"a body that does not heed its context": func(_ *http.Request, released <-chan struct{}, late *http.Response) *http.Response {
			late.Body = io.NopCloser(io.MultiReader(deaf{released}, late.Body))
			return late
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, next := edSigner("k"), edSigner("next")
				l := newLogin(s)
				a, log := remote(t, l)
				require.NoError(t, authorize(a, s.token(everlasting())))
				pass(time.Minute)

				released := make(chan struct{})
				l.does(func(r *http.Request) (*http.Response, error) {
					late := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(jwks(next.jwk())))}
					return does(r, released, late), nil
				})
				start := time.Now()
				err := authorize(a, next.token(everlasting()))
				requireUnavailable(t, err)
				require.ErrorContains(t, err, "no whole answer within 5s")
				require.Equal(t, 5*time.Second, time.Since(start))
				require.Contains(t, log.String(), "level=WARN")
				l.count()
				pass(time.Hour)
				require.Greater(t, l.count(), 100, "the refresh goes on")

				l.has(s, next)
				pass(15 * time.Second)
				require.NoError(t, authorize(a, next.token(everlasting())))
				close(released)
				synctest.Wait()
				require.NoError(t, authorize(a, s.token(everlasting())), "what comes late is dropped")
			})
		})
	}
}

func TestTheEndOfTheContextEndsTheRefreshOfATransportThatDoesNotHeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		defer close(released)
		l := newLogin()
		l.does(func(*http.Request) (*http.Response, error) {
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
		pass(time.Hour)
		require.Equal(t, 1, l.count())
	})
}

func TestOnlySoManyRequestsWaitForAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := edSigner("known")
		unknown := known.token(everlasting(), "kid", "unknown")
		l := newLogin(known)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, known.token(everlasting())))
		pass(time.Minute)
		l.hangs()
		ctx, giveUp := context.WithCancel(t.Context())
		answered := make(chan error, 300)
		waits := func(ctx context.Context) {
			go func() {
				_, err := a.Authorize(request(unknown).WithContext(ctx), chargeingest.PermissionIngest)
				answered <- err
			}()
		}
		waits(ctx)
		for range 255 {
			waits(t.Context())
		}
		synctest.Wait()
		require.Empty(t, answered)

		start := time.Now()
		for range 1000 {
			err := authorize(a, unknown)
			requireUnavailable(t, err)
			require.ErrorContains(t, err, "too many requests wait")
		}
		require.NoError(t, authorize(a, known.token(everlasting())), "it needs no fetch")
		require.Zero(t, time.Since(start))

		giveUp()
		require.ErrorIs(t, <-answered, context.Canceled)
		waits(t.Context()) // in its place
		synctest.Wait()
		require.Empty(t, answered)
		requireUnavailable(t, authorize(a, unknown))

		pass(5 * time.Second)
		require.Len(t, answered, 256)
		requireUnavailable(t, authorize(a, unknown))
		require.Equal(t, 2, l.count())
	})
}

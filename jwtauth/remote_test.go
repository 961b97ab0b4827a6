package jwtauth_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

// longLived returns claims that outlive the bubble of a test.
func longLived(changes ...any) map[string]any {
	return claims(append([]any{"exp", now.Add(1000 * time.Hour).Unix()}, changes...)...)
}

func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRefreshInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), edSigner("next")
		l := newLoginServer(old)
		a, log := newRemote(t, l)
		require.NoError(t, authorize(a, old.token(longLived())))
		require.NoError(t, a.Ready(t.Context()))
		require.Equal(t, 1, l.takeFetches())

		advance(time.Hour + time.Second)
		require.Equal(t, 4, l.takeFetches(), "every 15 minutes")
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "what has not changed is not logBuffer: %s", log)

		l.serveKeys(next)
		advance(15 * time.Minute)
		require.NoError(t, authorize(a, next.token(longLived())))
		require.Equal(t, 1, l.takeFetches())
		requireRejectedOnRetry(t, a, old.token(longLived()))
	})
}

func TestNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), rsaSigner("next")
		l := newLoginServer(old)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, old.token(longLived())))
		advance(time.Minute)
		require.Equal(t, 1, l.takeFetches())

		l.serveKeys(old, next)
		require.NoError(t, authorize(a, next.token(longLived())), "with the first request")
		require.NoError(t, authorize(a, old.token(longLived())))
		require.NoError(t, authorize(a, next.token(longLived())))
		require.Equal(t, 1, l.takeFetches())

		l.serveKeys(next)
		advance(time.Minute)
		require.NoError(t, authorize(a, old.token(longLived())), "until the refresh")
		advance(15 * time.Minute)
		require.ErrorIs(t, authorize(a, old.token(longLived())), chargeingest.ErrInvalidCredential)
		require.NoError(t, authorize(a, next.token(longLived())))
	})
}

func TestNewKeyWithOldID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("k"), edSigner("k")
		l := newLoginServer(old)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, old.token(longLived())))
		l.serveKeys(next)
		require.ErrorIs(t, authorize(a, next.token(longLived())), chargeingest.ErrInvalidCredential)
		advance(15 * time.Minute)
		require.NoError(t, authorize(a, next.token(longLived())))
		require.ErrorIs(t, authorize(a, old.token(longLived())), chargeingest.ErrInvalidCredential)
	})
}

func TestUnknownKidFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, stranger := edSigner("known"), edSigner("")
		l := newLoginServer(known)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, known.token(longLived())))
		require.Equal(t, 1, l.takeFetches())

		var all sync.WaitGroup
		var refused atomic.Int64
		for i := range 60 {
			for j := range 50 {
				all.Go(func() {
					token := stranger.token(longLived(), "kid", fmt.Sprintf("kid-%d-%d", i, j))
					if err := authorize(a, token); errors.Is(err, chargeingest.ErrInvalidCredential) {
						refused.Add(1)
					} else {
						require.LessOrEqual(t, requireFetchNotDue(t, err), 10*time.Second)
					}
				})
			}
			advance(time.Second)
			require.NoError(t, authorize(a, known.token(longLived())))
		}
		all.Wait()
		fetches := l.takeFetches()
		require.LessOrEqual(t, fetches, 6, "3,000 tokens in a minute")
		require.Equal(t, int64(fetches), refused.Load(), "one per fetch")

		next := edSigner("next")
		requireRejected(t, authorize(a, stranger.token(longLived(), "kid", "last")), chargeingest.ErrInvalidCredential, "")
		l.serveKeys(known, next)
		advance(requireFetchNotDue(t, authorize(a, next.token(longLived()))))
		require.NoError(t, authorize(a, next.token(longLived())))
	})
}

func TestInvalidKidMakesNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, s.token(longLived())))
		advance(time.Minute)
		l.takeFetches()
		for _, kid := range []any{strings.Repeat("k", 257), strings.Repeat("k", 5000), "", 1, []string{"k"}} {
			token := s.token(longLived(), "kid", kid)
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		}
		require.Zero(t, l.takeFetches())
		require.ErrorIs(t, authorize(a, s.token(longLived(), "kid", strings.Repeat("k", 256))), chargeingest.ErrInvalidCredential)
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestConcurrentRequestsShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		a, _ := newRemote(t, l)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { require.NoError(t, authorize(a, s.token(longLived()))) })
		}
		all.Wait()
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestRefreshJoinsRunningFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		a, _ := newRemote(t, l, func(c *jwtauth.Config) { c.RefreshInterval, c.MinFetchInterval = 3*time.Second, time.Second })
		require.NoError(t, authorize(a, s.token(longLived())))
		advance(2 * time.Second)
		l.hang()
		result := make(chan error, 1)
		go func() { result <- authorize(a, s.token(longLived(), "kid", "other")) }()
		advance(4 * time.Second)
		require.Equal(t, 2, l.takeFetches())
		requireUnavailable(t, <-result)
	})
}

func TestManyRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stays := edSigner("stays")
		l := newLoginServer(stays)
		a, _ := newRemote(t, l)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for ctx.Err() == nil {
					require.NoError(t, authorize(a, stays.token(longLived())))
					time.Sleep(7 * time.Second)
				}
			})
		}
		for i := range 50 {
			added := edSigner(fmt.Sprint("added-", i))
			l.serveKeys(stays, added)
			advance(11 * time.Second)
			require.NoError(t, authorize(a, added.token(longLived())))
		}
		stop()
		all.Wait()
	})
}

func TestKnownKidDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, unknown := edSigner("known"), edSigner("unknown")
		l := newLoginServer(known)
		a, _ := newRemote(t, l)
		require.NoError(t, authorize(a, known.token(longLived())))
		advance(time.Minute)

		l.hang()
		result := make(chan error, 1)
		start := time.Now()
		go func() { result <- authorize(a, unknown.token(longLived())) }()
		synctest.Wait()
		for range 100 {
			require.NoError(t, authorize(a, known.token(longLived())))
		}
		require.Zero(t, time.Since(start))
		requireUnavailable(t, <-result)
		require.Equal(t, 5*time.Second, time.Since(start), "a fetch times out")

		requireUnavailable(t, authorize(a, unknown.token(longLived())))
		require.Equal(t, 5*time.Second, time.Since(start), "the next request does not wait")
	})
}

func TestCancelledRequestKeepsFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		release := make(chan struct{})
		set := l.handler
		l.handle(func(r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return set(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		a, _ := newRemote(t, l)
		ctx, giveUp := context.WithCancel(t.Context())
		cancelled, waiting := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.Authorize(request(s.token(longLived())).WithContext(ctx), chargeingest.PermissionIngest)
			cancelled <- err
		}()
		go func() { waiting <- authorize(a, s.token(longLived())) }()
		synctest.Wait()
		giveUp()
		err := <-cancelled
		require.ErrorIs(t, err, context.Canceled)
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "the request ended")
		require.NotContains(t, err.Error(), "fetch JWKS", "the fetch may still succeed")
		close(release)
		require.NoError(t, <-waiting)
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestLoginServerDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		l.goDown()
		a, log := newRemote(t, l)
		err := authorize(a, s.token(longLived()))
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "connection refused")
		requireUnavailable(t, a.Ready(t.Context()))
		require.Contains(t, log.String(), "level=WARN")
		requireUnavailable(t, authorize(a, s.token(longLived(), "kid", nil)))
		require.ErrorIs(t, authorize(a, s.token(longLived(), "alg", "none")), chargeingest.ErrInvalidCredential,
			"an unsupported algorithm needs no keys")
		require.Equal(t, 1, l.takeFetches())

		l.serveKeys(s)
		requireUnavailable(t, authorize(a, s.token(longLived())))
		advance(10 * time.Second)
		require.NoError(t, a.Ready(t.Context()), "retried without a request")
		require.NoError(t, authorize(a, s.token(longLived())))
		require.Equal(t, 1, l.takeFetches())
	})
}

func TestReadyBeforeFirstFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoginServer()
		l.hang()
		a, _ := newRemote(t, l)
		require.ErrorContains(t, a.Ready(t.Context()), "the first fetch has not finished yet")
	})
}

func TestLoginServerDownLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, next := edSigner("k"), edSigner("next")
		l := newLoginServer(s)
		a, log := newRemote(t, l)
		require.NoError(t, authorize(a, s.token(longLived())))
		l.goDown()
		for range 24 {
			advance(time.Hour)
			require.NoError(t, authorize(a, s.token(longLived())))
			require.NoError(t, a.Ready(t.Context()))
			requireUnavailable(t, authorize(a, next.token(longLived())))
		}
		require.Contains(t, log.String(), "have_keys=true")
		require.LessOrEqual(t, l.takeFetches(), 1+24*3600/10, "at most every 10 seconds")

		l.serveKeys(s, next)
		advance(10 * time.Second)
		require.NoError(t, authorize(a, next.token(longLived())))
		require.NoError(t, authorize(a, s.token(longLived())))
	})
}

func TestContextEndsRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLoginServer(s)
		ctx, cancel := context.WithCancel(t.Context())
		cfg := config()
		cfg.JWKSURL, cfg.Transport = jwksURL, l
		a, err := jwtauth.New(ctx, cfg)
		require.NoError(t, err)
		require.NoError(t, authorize(a, s.token(longLived())))
		cancel()
		advance(24 * time.Hour)
		require.Equal(t, 1, l.takeFetches())
		require.NoError(t, authorize(a, s.token(longLived())))
		l.hang()
		requireUnavailable(t, authorize(a, s.token(longLived(), "kid", "other")))
	})
}

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

func TestUnusableKeySet(t *testing.T) {
	s := edSigner("k")
	secret := map[string]any{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}
	for _, c := range []struct {
		name   string
		status int
		body   string
		log    string
	}{
		{"500", 500, jwks(s.jwk()), "the response status is 500, not 200"},
		{"404", 404, "not found", "the response status is 404, not 200"},
		{"204", 204, "", "the response status is 204, not 200"},
		{"a page", 200, "<html>maintenance</html>", "not a JSON Web Key Set"},
		{"nothing", 200, "", "not a JSON Web Key Set"},
		{"half a key set", 200, jwks(s.jwk())[:40], "not a JSON Web Key Set"},
		{"two key sets", 200, jwks(s.jwk()) + jwks(s.jwk()), "not a JSON Web Key Set"},
		{"null", 200, "null", "the key set is empty"},
		{"an error that is JSON", 200, `{"error":"internal"}`, "the key set is empty"},
		{"an empty set", 200, `{"keys":[]}`, "the key set is empty"},
		{"keys that are not a list", 200, `{"keys":{"k":1}}`, "not a JSON Web Key Set"},
		{"a list", 200, `[` + jwks(s.jwk()) + `]`, "not a JSON Web Key Set"},
		{"keys that are numbers", 200, `{"keys":[1,null]}`, "the key set has no usable key"},
		{"only a shared secret", 200, jwks(secret), "key 0: a symmetric key"},
		{"only an encryption key", 200, jwks(with(s.jwk(), "use", "enc")), "key 0: not for verifying"},
		{"too many keys", 200, `{"keys":[` + strings.Repeat(`{},`, 128) + `{}]}`, "more than 128 keys"},
		{"10 MB", 200, jwks(with(s.jwk(), "padding", strings.Repeat("x", 10_000_000))), "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoginServer(s)
				a, log := newRemote(t, l)
				require.NoError(t, authorize(a, s.token(longLived())))
				l.respond(c.status, c.body)
				advance(15 * time.Minute)
				require.Equal(t, 2, l.takeFetches())
				require.Contains(t, log.String(), c.log)
				require.NoError(t, authorize(a, s.token(longLived())))
				requireUnavailable(t, authorize(a, s.token(longLived(), "kid", "other")))
			})
		})
	}
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

func TestUsableKeys(t *testing.T) {
	t.Parallel()
	ed, rs, ec := edSigner("k"), rsaSigner("k"), ecSigner("k", elliptic.P256())
	other := edSigner("other")
	tiny := map[string]any{"kty": "RSA", "kid": "k", "n": strings.Repeat("w", 128), "e": "AQAB"}
	for _, c := range []struct {
		name string
		keys []map[string]any
		sign signer
		alg  string
		ok   bool
	}{
		{"for signatures", []map[string]any{with(ed.jwk(), "use", "sig", "key_ops", []string{"verify"})}, ed, "EdDSA", true},
		{"for signatures and an unknown use", []map[string]any{with(ed.jwk(), "key_ops", []string{"verify", "new"})}, ed, "EdDSA", true},
		{"for encryption", []map[string]any{with(ed.jwk(), "use", "enc")}, ed, "EdDSA", false},
		{"for an unknown use", []map[string]any{with(ed.jwk(), "use", "tls")}, ed, "EdDSA", false},
		{"only for signing", []map[string]any{with(ed.jwk(), "key_ops", []string{"sign"})}, ed, "EdDSA", false},
		{"with the token's algorithm", []map[string]any{with(rs.jwk(), "alg", "PS256")}, rs, "PS256", true},
		{"with another algorithm", []map[string]any{with(rs.jwk(), "alg", "PS256")}, rs, "RS256", false},
		{"with an algorithm for encryption", []map[string]any{with(rs.jwk(), "alg", "RSA-OAEP")}, rs, "RS256", false},
		{"without an algorithm", []map[string]any{rs.jwk()}, rs, "PS256", true},
		{"on a curve", []map[string]any{ec.jwk()}, ec, "ES256", true},
		{"a point that is not on its curve", []map[string]any{with(ec.jwk(), "x", ec.jwk()["y"])}, ec, "ES256", false},
		{"a private key", []map[string]any{with(ed.jwk(), "d", "c2VjcmV0")}, ed, "EdDSA", true},
		{"two types with one ID", []map[string]any{rs.jwk(), ed.jwk()}, ed, "EdDSA", true},
		{"two keys with one ID and type", []map[string]any{edSigner("k").jwk(), ed.jwk()}, ed, "EdDSA", true},
		{"no ID, a token with a kid", []map[string]any{with(ed.jwk(), "kid", nil)}, ed, "EdDSA", false},
		{"no ID, a token without a kid", []map[string]any{signer{"", ed.private}.jwk()}, signer{"", ed.private}, "EdDSA", true},
		{"a long ID", []map[string]any{with(ed.jwk(), "kid", strings.Repeat("k", 257))}, ed, "EdDSA", false},
		{"among invalid keys", []map[string]any{nil, {"kty": 1}, {"kty": "EC"}, tiny, {"kty": "new"}, {"kty": "RSA", "n": "!", "e": "AQAB"}, ed.jwk()}, ed, "EdDSA", true},
		{"with invalid certificates", []map[string]any{with(ed.jwk(), "x5c", []string{"!"}, "x5t", "!", "x5u", "https://evil.test/")}, ed, "EdDSA", true},
		{"an RSA key of 768 bits", []map[string]any{tiny}, rs, "RS256", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoginServer()
				l.respond(http.StatusOK, jwks(append(c.keys, other.jwk())...))
				a, log := newRemote(t, l)
				advance(time.Minute)
				token := c.sign.token(claims(), "alg", c.alg)
				if err := authorize(a, token); c.ok {
					require.NoError(t, err, log)
				} else {
					requireRejected(t, err, chargeingest.ErrInvalidCredential, token)
				}
				require.NoError(t, authorize(a, other.token(claims())), "other keys are used")
				require.LessOrEqual(t, l.takeFetches(), 2)
				require.Empty(t, l.otherURLs)
			})
		})
	}
}

func TestSymmetricKeyInKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoginServer()
		l.respond(http.StatusOK, jwks(edSigner("other").jwk(), map[string]any{"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}))
		a, log := newRemote(t, l)
		for _, header := range []map[string]any{{"alg": "HS256", "kid": "k"}, {"alg": "HS256"}} {
			token := hmacToken(header, []byte("secret"))
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		}
		requireRejectedOnRetry(t, a, edSigner("k").token(claims()))
		require.Contains(t, log.String(), "key 1: a symmetric key")
		require.NotContains(t, log.String(), "c2VjcmV0")
	})
}

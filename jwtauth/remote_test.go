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

// The time of these tests is that of the bubble, which the tokens are far from
// reaching the end of.
func everlasting(members ...any) map[string]any {
	return claims(append([]any{"exp", now.Add(1000 * time.Hour).Unix()}, members...)...)
}

// pass lets the bubble's time pass, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestKeysAreFetchedAtTheStartAndThenAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), edSigner("next")
		l := newLogin(old)
		a, log := remote(t, l)
		require.NoError(t, authorize(a, old.token(everlasting())))
		require.NoError(t, a.Ready(t.Context()))
		require.Equal(t, 1, l.count())

		pass(time.Hour + time.Second)
		require.Equal(t, 4, l.count(), "each quarter of an hour")
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "what has not changed is not logged: %s", log)

		l.has(next)
		pass(15 * time.Minute)
		require.NoError(t, authorize(a, next.token(everlasting())))
		require.Equal(t, 1, l.count())
		requireRefusedLater(t, a, old.token(everlasting())) // it was withdrawn
	})
}

func TestANewKeyIsFoundAfterOneFetchAndTheOldOneWorksUntilItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), rsaSigner("next")
		l := newLogin(old)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, old.token(everlasting())))
		pass(time.Minute)
		require.Equal(t, 1, l.count())

		l.has(old, next)
		require.NoError(t, authorize(a, next.token(everlasting())), "at the first request already")
		require.NoError(t, authorize(a, old.token(everlasting())))
		require.NoError(t, authorize(a, next.token(everlasting())))
		require.Equal(t, 1, l.count())

		l.has(next)
		pass(time.Minute)
		require.NoError(t, authorize(a, old.token(everlasting())), "nobody knows yet")
		pass(15 * time.Minute)
		require.ErrorIs(t, authorize(a, old.token(everlasting())), chargeingest.ErrInvalidCredential)
		require.NoError(t, authorize(a, next.token(everlasting())))
	})
}

func TestAKeyThatKeepsItsIDAndIsAnotherIsFoundByTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("k"), edSigner("k")
		l := newLogin(old)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, old.token(everlasting())))
		l.has(next)
		require.ErrorIs(t, authorize(a, next.token(everlasting())), chargeingest.ErrInvalidCredential)
		pass(15 * time.Minute)
		require.NoError(t, authorize(a, next.token(everlasting())))
		require.ErrorIs(t, authorize(a, old.token(everlasting())), chargeingest.ErrInvalidCredential)
	})
}

func TestAFloodOfUnknownKidsMakesOneFetchInTenSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, stranger := edSigner("known"), edSigner("")
		l := newLogin(known)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, known.token(everlasting())))
		require.Equal(t, 1, l.count())

		var all sync.WaitGroup
		var refused atomic.Int64
		for i := range 60 {
			for j := range 50 {
				all.Go(func() {
					token := stranger.token(everlasting(), "kid", fmt.Sprintf("kid-%d-%d", i, j))
					if err := authorize(a, token); errors.Is(err, chargeingest.ErrInvalidCredential) {
						refused.Add(1)
					} else {
						require.LessOrEqual(t, requireSuppressed(t, err), 10*time.Second)
					}
				})
			}
			pass(time.Second)
			require.NoError(t, authorize(a, known.token(everlasting())))
		}
		all.Wait()
		fetches := l.count()
		require.LessOrEqual(t, fetches, 6, "3,000 tokens in a minute")
		require.Equal(t, int64(fetches), refused.Load(), "each fetch began for one of them")

		// The attack does not hide a new key.
		next := edSigner("next")
		requireRefused(t, authorize(a, stranger.token(everlasting(), "kid", "last")), chargeingest.ErrInvalidCredential, "")
		l.has(known, next)
		pass(requireSuppressed(t, authorize(a, next.token(everlasting()))))
		require.NoError(t, authorize(a, next.token(everlasting())))
	})
}

func TestAKidThatNoKeyCanHaveMakesNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, s.token(everlasting())))
		pass(time.Minute)
		l.count()
		for _, kid := range []any{strings.Repeat("k", 257), strings.Repeat("k", 5000), "", 1, []string{"k"}} {
			token := s.token(everlasting(), "kid", kid)
			requireRefused(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		}
		require.Zero(t, l.count())
		require.ErrorIs(t, authorize(a, s.token(everlasting(), "kid", strings.Repeat("k", 256))), chargeingest.ErrInvalidCredential)
		require.Equal(t, 1, l.count())
	})
}

func TestConcurrentRequestsShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		a, _ := remote(t, l)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { require.NoError(t, authorize(a, s.token(everlasting()))) })
		}
		all.Wait()
		require.Equal(t, 1, l.count())
	})
}

func TestTheRefreshJoinsAFetchThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		a, _ := remote(t, l, func(c *jwtauth.Config) { c.RefreshInterval, c.MinFetchInterval = 3*time.Second, time.Second })
		require.NoError(t, authorize(a, s.token(everlasting())))
		pass(2 * time.Second)
		l.hangs()
		answered := make(chan error, 1)
		go func() { answered <- authorize(a, s.token(everlasting(), "kid", "other")) }()
		pass(4 * time.Second)
		require.Equal(t, 2, l.count())
		requireUnavailable(t, <-answered)
	})
}

func TestKeysMayChangeUnderTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stays := edSigner("stays")
		l := newLogin(stays)
		a, _ := remote(t, l)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for ctx.Err() == nil {
					require.NoError(t, authorize(a, stays.token(everlasting())))
					time.Sleep(7 * time.Second)
				}
			})
		}
		for i := range 50 {
			added := edSigner(fmt.Sprint("added-", i))
			l.has(stays, added)
			pass(11 * time.Second)
			require.NoError(t, authorize(a, added.token(everlasting())))
		}
		stop()
		all.Wait()
	})
}

func TestNobodyWithAKnownKidWaitsForAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, unknown := edSigner("known"), edSigner("unknown")
		l := newLogin(known)
		a, _ := remote(t, l)
		require.NoError(t, authorize(a, known.token(everlasting())))
		pass(time.Minute)

		l.hangs()
		answered := make(chan error, 1)
		start := time.Now()
		go func() { answered <- authorize(a, unknown.token(everlasting())) }()
		synctest.Wait()
		for range 100 {
			require.NoError(t, authorize(a, known.token(everlasting())))
		}
		require.Zero(t, time.Since(start))
		requireUnavailable(t, <-answered)
		require.Equal(t, 5*time.Second, time.Since(start), "a fetch ends, whatever the server does")

		requireUnavailable(t, authorize(a, unknown.token(everlasting())))
		require.Equal(t, 5*time.Second, time.Since(start), "the next does not wait for another")
	})
}

func TestARequestThatIsGivenUpEndsNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		release := make(chan struct{})
		set := l.answer
		l.does(func(r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return set(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		a, _ := remote(t, l)
		ctx, giveUp := context.WithCancel(t.Context())
		gone, patient := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.Authorize(request(s.token(everlasting())).WithContext(ctx), chargeingest.PermissionIngest)
			gone <- err
		}()
		go func() { patient <- authorize(a, s.token(everlasting())) }()
		synctest.Wait()
		giveUp()
		err := <-gone
		require.ErrorIs(t, err, context.Canceled)
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "the request ended")
		require.NotContains(t, err.Error(), "could not be fetched", "nobody knows that yet")
		close(release)
		require.NoError(t, <-patient)
		require.Equal(t, 1, l.count())
	})
}

func TestAServiceStartsWhileTheLoginServerIsDownAndAnswers503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		l.isDown()
		a, log := remote(t, l)
		err := authorize(a, s.token(everlasting()))
		requireUnavailable(t, err)
		require.ErrorContains(t, err, "connection refused")
		requireUnavailable(t, a.Ready(t.Context()))
		require.Contains(t, log.String(), "level=WARN")
		requireUnavailable(t, authorize(a, s.token(everlasting(), "kid", nil)))
		require.ErrorIs(t, authorize(a, s.token(everlasting(), "alg", "none")), chargeingest.ErrInvalidCredential,
			"what no key can verify needs none")
		require.Equal(t, 1, l.count())

		l.has(s)
		requireUnavailable(t, authorize(a, s.token(everlasting())))
		pass(10 * time.Second)
		require.NoError(t, a.Ready(t.Context()), "it was tried again without being asked")
		require.NoError(t, authorize(a, s.token(everlasting())))
		require.Equal(t, 1, l.count())
	})
}

func TestReadySaysThatTheFirstFetchHasNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogin()
		l.hangs()
		a, _ := remote(t, l)
		require.ErrorContains(t, a.Ready(t.Context()), "the first fetch has not ended yet")
	})
}

func TestTheLastGoodKeysStayWhileTheServerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, next := edSigner("k"), edSigner("next")
		l := newLogin(s)
		a, log := remote(t, l)
		require.NoError(t, authorize(a, s.token(everlasting())))
		l.isDown()
		for range 24 {
			pass(time.Hour)
			require.NoError(t, authorize(a, s.token(everlasting())))
			require.NoError(t, a.Ready(t.Context()))
			requireUnavailable(t, authorize(a, next.token(everlasting())))
		}
		require.Contains(t, log.String(), "have_keys=true")
		require.LessOrEqual(t, l.count(), 1+24*3600/10, "each ten seconds at most")

		l.has(s, next)
		pass(10 * time.Second)
		require.NoError(t, authorize(a, next.token(everlasting())))
		require.NoError(t, authorize(a, s.token(everlasting())))
	})
}

func TestTheEndOfTheContextEndsTheRefreshAndKeepsTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		ctx, cancel := context.WithCancel(t.Context())
		cfg := config()
		cfg.JWKSURL, cfg.Transport = jwksURL, l
		a, err := jwtauth.New(ctx, cfg)
		require.NoError(t, err)
		require.NoError(t, authorize(a, s.token(everlasting())))
		cancel()
		pass(24 * time.Hour)
		require.Equal(t, 1, l.count())
		require.NoError(t, authorize(a, s.token(everlasting())))
		l.hangs()
		requireUnavailable(t, authorize(a, s.token(everlasting(), "kid", "other")))
	})
}

// endless is a body that has no end, and counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

// broken is a body that ends too early.
type broken struct{ io.Reader }

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestAnAnswerThatIsNoUsableKeySetKeepsTheLastGoodKeys(t *testing.T) {
	s := edSigner("k")
	secret := map[string]any{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}
	for _, c := range []struct {
		name   string
		status int
		body   string
		log    string
	}{
		{"500", 500, jwks(s.jwk()), "the answer is 500, not 200"},
		{"404", 404, "not found", "the answer is 404, not 200"},
		{"204", 204, "", "the answer is 204, not 200"},
		{"a page", 200, "<html>maintenance</html>", "not a JSON Web Key Set"},
		{"nothing", 200, "", "not a JSON Web Key Set"},
		{"half of it", 200, jwks(s.jwk())[:40], "not a JSON Web Key Set"},
		{"two of them", 200, jwks(s.jwk()) + jwks(s.jwk()), "not a JSON Web Key Set"},
		{"null", 200, "null", "without keys"},
		{"an error that is JSON", 200, `{"error":"internal"}`, "without keys"},
		{"an empty set", 200, `{"keys":[]}`, "without keys"},
		{"keys that are no list", 200, `{"keys":{"k":1}}`, "not a JSON Web Key Set"},
		{"a list", 200, `[` + jwks(s.jwk()) + `]`, "not a JSON Web Key Set"},
		{"keys that are numbers", 200, `{"keys":[1,null]}`, "no key of the set can be used"},
		{"a shared secret alone", 200, jwks(secret), "key 0: it is symmetric"},
		{"an encryption key alone", 200, jwks(and(s.jwk(), "use", "enc")), "key 0: it is not for verifying"},
		{"too many keys", 200, `{"keys":[` + strings.Repeat(`{},`, 128) + `{}]}`, "more than 128 keys"},
		{"10 MB", 200, jwks(and(s.jwk(), "padding", strings.Repeat("x", 10_000_000))), "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLogin(s)
				a, log := remote(t, l)
				require.NoError(t, authorize(a, s.token(everlasting())))
				l.says(c.status, c.body)
				pass(15 * time.Minute)
				require.Equal(t, 2, l.count())
				require.Contains(t, log.String(), c.log)
				require.NoError(t, authorize(a, s.token(everlasting())))
				requireUnavailable(t, authorize(a, s.token(everlasting(), "kid", "other")))
			})
		})
	}
}

func TestOfAnAnswerOneMiBIsReadAndOneThatBreaksOffIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		answers := func(body io.Reader) {
			l.does(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
			})
		}
		body := new(endless)
		answers(body)
		a, log := remote(t, l)
		requireUnavailable(t, authorize(a, s.token(everlasting())))
		require.LessOrEqual(t, body.read, 2<<20)

		answers(&broken{strings.NewReader(jwks(s.jwk()))})
		pass(10 * time.Second)
		requireUnavailable(t, authorize(a, s.token(everlasting())))
		require.Contains(t, log.String(), "did not arrive whole")
	})
}

func TestARedirectIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := edSigner("k")
		l := newLogin(s)
		l.does(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusFound, Body: http.NoBody,
				Header: http.Header{"Location": {"http://169.254.169.254/"}},
			}, nil
		})
		a, _ := remote(t, l)
		requireUnavailable(t, authorize(a, s.token(everlasting())))
		require.Equal(t, 1, l.count())
		require.Empty(t, l.others)
	})
}

func TestOfAKeySetThoseKeysAreUsedThatAreForVerifyingSignatures(t *testing.T) {
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
		{"for signatures", []map[string]any{and(ed.jwk(), "use", "sig", "key_ops", []string{"verify"})}, ed, "EdDSA", true},
		{"for signatures and something new", []map[string]any{and(ed.jwk(), "key_ops", []string{"verify", "new"})}, ed, "EdDSA", true},
		{"for encryption", []map[string]any{and(ed.jwk(), "use", "enc")}, ed, "EdDSA", false},
		{"for something new", []map[string]any{and(ed.jwk(), "use", "tls")}, ed, "EdDSA", false},
		{"for signing alone", []map[string]any{and(ed.jwk(), "key_ops", []string{"sign"})}, ed, "EdDSA", false},
		{"with the token's algorithm", []map[string]any{and(rs.jwk(), "alg", "PS256")}, rs, "PS256", true},
		{"with another algorithm", []map[string]any{and(rs.jwk(), "alg", "PS256")}, rs, "RS256", false},
		{"with an algorithm for encryption", []map[string]any{and(rs.jwk(), "alg", "RSA-OAEP")}, rs, "RS256", false},
		{"without an algorithm", []map[string]any{rs.jwk()}, rs, "PS256", true},
		{"on a curve", []map[string]any{ec.jwk()}, ec, "ES256", true},
		{"a point that is not on its curve", []map[string]any{and(ec.jwk(), "x", ec.jwk()["y"])}, ec, "ES256", false},
		{"a private key, whose public half counts", []map[string]any{and(ed.jwk(), "d", "c2VjcmV0")}, ed, "EdDSA", true},
		{"two of one id and of different types", []map[string]any{rs.jwk(), ed.jwk()}, ed, "EdDSA", true},
		{"two of one id and type, the second", []map[string]any{edSigner("k").jwk(), ed.jwk()}, ed, "EdDSA", true},
		{"no id, and a token with one", []map[string]any{and(ed.jwk(), "kid", nil)}, ed, "EdDSA", false},
		{"no id, and a token without one", []map[string]any{signer{"", ed.private}.jwk()}, signer{"", ed.private}, "EdDSA", true},
		{"a long id", []map[string]any{and(ed.jwk(), "kid", strings.Repeat("k", 257))}, ed, "EdDSA", false},
		{"beside what makes no sense", []map[string]any{nil, {"kty": 1}, {"kty": "EC"}, tiny, {"kty": "new"}, {"kty": "RSA", "n": "!", "e": "AQAB"}, ed.jwk()}, ed, "EdDSA", true},
		{"with certificates that are none", []map[string]any{and(ed.jwk(), "x5c", []string{"!"}, "x5t", "!", "x5u", "https://evil.test/")}, ed, "EdDSA", true},
		{"an RSA key of 768 bits", []map[string]any{tiny}, rs, "RS256", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLogin()
				l.says(http.StatusOK, jwks(append(c.keys, other.jwk())...))
				a, log := remote(t, l)
				pass(time.Minute)
				token := c.sign.token(claims(), "alg", c.alg)
				if err := authorize(a, token); c.ok {
					require.NoError(t, err, log)
				} else {
					requireRefused(t, err, chargeingest.ErrInvalidCredential, token)
				}
				require.NoError(t, authorize(a, other.token(claims())), "one does not spoil the others")
				require.LessOrEqual(t, l.count(), 2)
				require.Empty(t, l.others)
			})
		})
	}
}

func TestASharedSecretInAKeySetVerifiesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogin()
		l.says(http.StatusOK, jwks(edSigner("other").jwk(), map[string]any{"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}))
		a, log := remote(t, l)
		for _, header := range []map[string]any{{"alg": "HS256", "kid": "k"}, {"alg": "HS256"}} {
			token := hmacToken(header, []byte("secret"))
			requireRefused(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		}
		requireRefusedLater(t, a, edSigner("k").token(claims()))
		require.Contains(t, log.String(), "key 1: it is symmetric")
		require.NotContains(t, log.String(), "c2VjcmV0")
	})
}

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// loginServer serves a key set on loopback, and signs with its key.
type loginServer struct {
	*httptest.Server
	private ed25519.PrivateKey
	typ     string // of its tokens
}

func startLogin(t *testing.T) *loginServer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	l := &loginServer{private: private, Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))}
	t.Cleanup(l.Close)
	return l
}

// token is one with permissions, for the audience charges. Of more, each is a
// claim and its value.
func (l *loginServer) token(t *testing.T, permissions string, more ...string) string {
	t.Helper()
	claims := map[string]any{
		"iss": "login", "aud": "charges", "sub": "checkout", "exp": time.Now().Add(time.Hour).Unix(), "scope": permissions,
	}
	for i := 0; i < len(more); i += 2 {
		claims[more[i]] = more[i+1]
	}
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	text := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"EdDSA","kid":"k","typ":%q}`, l.typ)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(l.private, []byte(text)))
}

// sendBearer sends a POST of an event with a Bearer token and returns the status.
func (s *runningServer) sendBearer(t *testing.T, token string) int {
	t.Helper()
	req := ingestRequest(s)
	req.Header.Del("X-API-KEY")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	return res.StatusCode
}

const everything = "METER_DATA.INGEST METER_DATA.VIEW"

func TestTokensOfALoginServerAreAccepted(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-issuer", "login", "-jwt-platform", "default")
	good := l.token(t, everything)
	require.Equal(t, http.StatusCreated, s.sendBearer(t, good))
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"a changed token":                {strings.Replace(good, ".", ".A", 1), http.StatusUnauthorized},
		"a token of somebody else":       {startLogin(t).token(t, everything), http.StatusUnauthorized},
		"for another audience":           {l.token(t, everything, "aud", "other"), http.StatusUnauthorized},
		"from another issuer":            {l.token(t, everything, "iss", "other"), http.StatusUnauthorized},
		"an API key, of which no one is": {"secret", http.StatusUnauthorized},
		"without the permission":         {l.token(t, "METER_DATA.VIEW"), http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.status, s.sendBearer(t, c.token)) })
	}
	s.stop()
	<-s.done
	require.Equal(t, 0, s.status, s.log)
	require.NotContains(t, s.log.String()+s.out.String(), good[:40])
}

func TestTokenType(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platform", "default", "-jwt-type", "at+jwt")
	require.Equal(t, http.StatusUnauthorized, s.sendBearer(t, l.token(t, everything)))
	l.typ = "at+jwt"
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, everything)))
}

func TestTokensAndKeysAreAcceptedBesideEachOther(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platforms-claim", "tenant",
		"-jwt-permissions-claim", "roles", "-api-key", "given-key-1")
	require.Contains(t, s.curl, `"X-API-KEY: $CHARGEINGEST_API_KEY"`)
	require.Equal(t, http.StatusCreated, s.sendBearer(t, "given-key-1"), "the key as a Bearer token")
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, "", "roles", everything, "tenant", "acme")))
	require.Equal(t, http.StatusForbidden, s.sendBearer(t, l.token(t, everything, "tenant", "acme")))
	require.Equal(t, http.StatusForbidden, s.sendBearer(t, l.token(t, "", "roles", everything)), "no token gets a platform by itself")
	s.key = "given-key-1"
	require.Len(t, s.events(t), 1, "the token's event is on its own platform")
}

func TestWithTokensNoKeyIsMadeAndTheCurlLineTakesAToken(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platform", "default")
	require.Empty(t, s.key)
	require.Contains(t, s.out.String(), "send an event, with a token in the exported variable CHARGEINGEST_TOKEN:\ncurl ")
	require.Regexp(t, statusLine, paste(t, s.curl, "CHARGEINGEST_TOKEN="+l.token(t, everything)))
}

func TestTheServerIsReadyOnceTheKeysOfTokensAreThere(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platform", "default")
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, everything)), "it waits for the first fetch")
	status, body := s.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status, body)

	l.Close()
	status, body = s.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, everything)), "the last good keys stay")

	down := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-api-key", "k")
	status, body = down.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "the keys of tokens were not fetched yet\n", body)
	require.Equal(t, http.StatusServiceUnavailable, down.sendBearer(t, l.token(t, everything)))
	require.Contains(t, down.log.String(), `msg="JWKS fetch failed"`)
	require.Equal(t, http.StatusCreated, down.sendBearer(t, "k"), "keys are not held up")
}

func TestKeysOfTokensAreFetchedStillWhileRequestsAreInFlight(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	l := startLogin(t)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		select {
		case <-release:
			l.Config.Handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	blocking := newBlockingStore()
	tp := newTestProgram()
	tp.openStore = blocking.open
	s := tp.start(t, "-jwks-url", slow.URL, "-jwt-audience", "charges", "-api-key", "given-key-1")
	s.key = "given-key-1"
	answered := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(ingestRequest(s))
		if err == nil {
			res.Body.Close()
		}
		answered <- err
	}()
	<-asked
	<-blocking.entered
	s.stop()
	require.True(t, s.log.has("msg=stopping", s.done), s.log)
	close(release)
	tooLong, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fetched := s.log.has(`msg="JWKS changed"`, tooLong.Done())
	close(blocking.release)
	require.NoError(t, <-answered)
	<-s.done
	require.True(t, fetched, s.log)
}

func TestAJWKSAddressThatCannotBeTrustedLeavesNothingBehind(t *testing.T) {
	t.Chdir(t.TempDir())
	tp := newTestProgram()
	require.Equal(t, 2, tp.run(context.Background(), []string{"-jwks-url", "http://login.example", "-jwt-audience", "a"}))
	require.NoFileExists(t, "charges.db")
}

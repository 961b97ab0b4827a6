package jwtauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"example.com/chargeingest"
)

const (
	// maxTokenBytes bounds a token before anything of it is read.
	maxTokenBytes = 8 << 10

	// maxKeyIDBytes bounds the kid of a token and of a key.
	maxKeyIDBytes = 256

	// maxKeysTried bounds the signatures that are checked for one token. Only a
	// token without a kid, or a set with several keys of one kid, needs more
	// than one.
	maxKeysTried = 8

	// maxSubject is how many characters of a subject are kept, for the log.
	maxSubject = 128

	// maxPlatform bounds the name of a platform, in characters.
	maxPlatform = 256

	// lastDate is the end of the year 9999. What is beyond is no date, and can
	// overflow on its way to one.
	lastDate = 253402300799
)

// Authorizer authorizes requests by tokens. It is safe for concurrent use.
type Authorizer struct {
	cfg    Config
	parser *jwt.Parser
	keys   keySource
}

var (
	_ chargeingest.Authorizer   = (*Authorizer)(nil)
	_ chargeingest.ReadyChecker = (*Authorizer)(nil)
)

// New returns an authorizer, or an error that names the field of cfg that is
// wrong.
//
// Where cfg has a JWKSURL, New starts to fetch it and does not wait: a service
// starts also while its login server is down, answers 503 to tokens until the
// first fetch succeeds, and [Authorizer.Ready] says so. The end of ctx ends the
// background refresh; tokens of the keys that are known by then are authorized
// still.
func New(ctx context.Context, cfg Config) (*Authorizer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(cfg.Algorithms), jwt.WithExpirationRequired(), jwt.WithStrictDecoding(),
		jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(cfg.Now),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if !cfg.AnyAudience {
		options = append(options, jwt.WithAudience(cfg.Audiences...))
	}
	a := &Authorizer{cfg: cfg, parser: jwt.NewParser(options...)}
	if cfg.JWKSURL == "" {
		a.keys = &keySet{keys: cfg.Keys}
	} else {
		a.keys = startRemoteKeys(ctx, cfg)
	}
	return a, nil
}

// Ready returns nil where there are keys to verify tokens with. It does not ask
// the login server, and stays nil while that is down.
func (a *Authorizer) Ready(context.Context) error { return a.keys.ready() }

// Authorize implements [chargeingest.Authorizer].
//
// The error is chargeingest.ErrNoCredential for a request without a Bearer
// token, with one that is not shaped like a JWT, or with an X-API-KEY, which
// decides alone; chargeingest.ErrBadCredential for a token that does not verify;
// chargeingest.ErrForbidden for one without the permission or without a
// platform. Any other says that the keys could not be fetched. None holds
// anything of the token.
func (a *Authorizer) Authorize(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
	token, err := chargeingest.APIKeyOrBearer(r)
	if err != nil {
		return chargeingest.Principal{}, err
	}
	if len(r.Header.Values("X-Api-Key")) > 0 {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	if len(token) > maxTokenBytes {
		return chargeingest.Principal{}, refusal(refusedError("it is longer than 8 KiB"))
	}
	if !isJWT(token) {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	claims, err := a.verify(r.Context(), token)
	if err != nil {
		return chargeingest.Principal{}, err
	}
	return a.principal(claims, perm)
}

// isJWT says whether a token has the shape of a JWT: three parts in base64url,
// the first of which is a JSON object. The last is empty in a token that is not
// signed.
func isJWT(token string) bool {
	if strings.Count(token, ".") != 2 || strings.ContainsFunc(token, isOutsideJWT) {
		return false
	}
	header, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(header)
	var members map[string]json.RawMessage
	return err == nil && json.Unmarshal(text, &members) == nil && members != nil
}

func isOutsideJWT(r rune) bool {
	return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// verify returns the claims of a token that is genuine, valid now, and for us.
func (a *Authorizer) verify(ctx context.Context, token string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := a.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		return a.candidates(ctx, t)
	})
	if err != nil {
		return nil, refusal(err)
	}
	for _, name := range []string{"exp", "nbf"} {
		if date, ok := claims[name].(float64); ok && (date < 0 || date > lastDate) {
			return nil, refusal(refusedError(name + " is no date"))
		}
	}
	return claims, nil
}

// candidates returns the keys that may have signed a token.
func (a *Authorizer) candidates(ctx context.Context, t *jwt.Token) (jwt.VerificationKeySet, error) {
	var candidates jwt.VerificationKeySet
	// It names extensions that must be understood, and none are.
	if _, ok := t.Header["crit"]; ok {
		return candidates, refusedError("it has crit in its header")
	}
	kid := ""
	if value, ok := t.Header["kid"]; ok {
		if kid, ok = value.(string); !ok || kid == "" || len(kid) > maxKeyIDBytes {
			return candidates, refusedError("its kid is not a string of 1 to 256 bytes")
		}
	}
	keys, err := a.keys.find(ctx, kid)
	if err != nil {
		return candidates, err
	}
	for _, k := range keys {
		if k.suits(t.Method.Alg()) {
			candidates.Keys = append(candidates.Keys, k.Public)
		}
	}
	switch {
	case len(candidates.Keys) == 0:
		return candidates, refusedError("its algorithm does not suit the key")
	case len(candidates.Keys) > maxKeysTried:
		return candidates, refusedError("too many keys could have signed it; a kid would tell which")
	}
	return candidates, nil
}

// principal returns who a token stands for, where that one has perm. With an
// error comes the subject alone.
func (a *Authorizer) principal(claims jwt.MapClaims, perm chargeingest.Permission) (chargeingest.Principal, error) {
	subject, _ := claims["sub"].(string)
	p := chargeingest.Principal{Subject: printable(subject)}
	if !slices.Contains(a.permissions(claims), string(perm)) {
		return p, fmt.Errorf("%w: the token does not have it", chargeingest.ErrForbidden)
	}
	platforms := []string{a.cfg.Platform}
	if a.cfg.Platform == "" {
		platforms = listed(claims[a.cfg.PlatformsClaim])
	}
	if len(platforms) == 0 || slices.ContainsFunc(platforms, isNoPlatform) {
		return p, fmt.Errorf("%w: the token names no platform, or one that cannot be", chargeingest.ErrForbidden)
	}
	p.Platforms = platforms
	return p, nil
}

// permissions returns what a token permits, what others may know it for
// included.
func (a *Authorizer) permissions(claims jwt.MapClaims) []string {
	claim := claims[a.cfg.PermissionsClaim]
	if a.cfg.PermissionsClaim == "" {
		var ok bool
		if claim, ok = claims["permissions"]; !ok {
			claim = claims["scope"]
		}
	}
	if words, ok := claim.(string); ok {
		return strings.Split(words, " ")
	}
	return listed(claim)
}

// listed returns the strings of a claim that is a list of them, or the one that
// it is; of anything else none.
func listed(claim any) []string {
	if one, ok := claim.(string); ok {
		return []string{one}
	}
	list, _ := claim.([]any)
	var all []string
	for _, entry := range list {
		s, ok := entry.(string)
		if !ok {
			return nil
		}
		all = append(all, s)
	}
	return all
}

func isNoPlatform(name string) bool {
	return name == "" || utf8.RuneCountInString(name) > maxPlatform || strings.ContainsFunc(name, unicode.IsControl)
}

// printable makes a subject fit for a log.
func printable(subject string) string {
	if runes := []rune(subject); len(runes) > maxSubject {
		subject = string(runes[:maxSubject])
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, subject)
}

// refusedError is a fixed text that says why a token is refused.
type refusedError string

func (e refusedError) Error() string { return string(e) }

// unavailableError says that there is no key set to answer with.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string {
	return "jwtauth: the keys that tokens are verified with could not be fetched: " + e.err.Error()
}
func (e *unavailableError) Unwrap() error { return e.err }

// refusal is the error for a token that is refused because of err. Its text is
// one of a few: what the library's errors quote can come from the token.
func refusal(err error) error {
	var unavailable *unavailableError
	if errors.As(err, &unavailable) {
		return unavailable
	}
	var reason refusedError
	switch {
	case errors.As(err, &reason):
	case errors.Is(err, jwt.ErrTokenExpired):
		reason = "it has expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		reason = "it is not valid yet"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		reason = "it is for another audience"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		reason = "it is from another issuer"
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		reason = "exp, iss or aud is missing"
	case errors.Is(err, jwt.ErrTokenInvalidClaims):
		reason = "a claim is of the wrong type"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		reason = "its signature or its algorithm is not accepted"
	default:
		reason = "it is malformed"
	}
	return fmt.Errorf("%w: %w", chargeingest.ErrBadCredential, reason)
}

package jwtauth

import (
	"bytes"
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

	// maxHeaderValues bounds the values in a token's header, which is read before
	// anything is verified. One with a key in it has some ten.
	maxHeaderValues = 64

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
	cfg       Config
	parser    *jwt.Parser    // of everything but the claims
	validator *jwt.Validator // of the claims
	keys      keySource
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
	a := &Authorizer{
		cfg: cfg,
		parser: jwt.NewParser(
			jwt.WithValidMethods(cfg.Algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation(),
		),
		validator: newValidator(cfg),
	}
	if cfg.JWKSURL == "" {
		a.keys = &keySet{keys: cfg.Keys}
	} else {
		a.keys = startRemoteKeys(ctx, cfg)
	}
	return a, nil
}

func newValidator(cfg Config) *jwt.Validator {
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(cfg.Now)}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if !cfg.AnyAudience {
		options = append(options, jwt.WithAudience(cfg.Audiences...))
	}
	return jwt.NewValidator(options...)
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
// platform. Any other says that nobody can tell without keys that could not be
// fetched, or not in time. None holds anything of the token.
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
	header := headerOf(token)
	if values(header) > maxHeaderValues {
		return chargeingest.Principal{}, refusal(refusedError("its header holds too much"))
	}
	if !isObject(header) {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	claims, err := a.verify(r.Context(), token)
	if err != nil {
		return chargeingest.Principal{}, err
	}
	return a.principal(claims, perm)
}

// headerOf returns the first part of what has the shape of a JWT, decoded, or
// nil: three parts in base64url, of which the last is empty in a token that is
// not signed.
func headerOf(token string) []byte {
	if strings.Count(token, ".") != 2 || strings.ContainsFunc(token, isOutsideJWT) {
		return nil
	}
	part, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil
	}
	return text
}

func isOutsideJWT(r rune) bool {
	return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// values is at least the number of values in a JSON text: before each there is
// one of these.
func values(text []byte) int {
	return bytes.Count(text, []byte("{")) + bytes.Count(text, []byte("[")) + bytes.Count(text, []byte(","))
}

func isObject(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) && json.Valid(text)
}

// verify returns the claims of a token that is genuine, valid now, and for us.
func (a *Authorizer) verify(ctx context.Context, token string) (jwt.MapClaims, error) {
	known := a.keys.known()
	payload, err := a.payload(token, known)
	if errors.Is(err, errUnknownKey) || errors.Is(err, errNoKeyVerifies) {
		renewed, failure := a.keys.renewed(ctx)
		if failure != nil {
			return nil, failure
		}
		if renewed != known {
			payload, err = a.payload(token, renewed)
		}
	}
	if err != nil {
		return nil, refusal(err)
	}
	var claims jwt.MapClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, refusal(fmt.Errorf("%w: %w", jwt.ErrTokenMalformed, err))
	}
	if err := a.validator.Validate(claims); err != nil {
		return nil, refusal(fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err))
	}
	for _, name := range []string{"exp", "nbf"} {
		if date, ok := claims[name].(float64); ok && (date < 0 || date > lastDate) {
			return nil, refusal(refusedError(name + " is no date"))
		}
	}
	return claims, nil
}

// payload returns the claims, not read yet, of a token that one of keys signed.
func (a *Authorizer) payload(token string, keys *keySet) ([]byte, error) {
	var claims unreadClaims
	byAny := false
	_, err := a.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		kid, err := keyID(t.Header)
		if err != nil {
			return nil, err
		}
		byAny = kid == ""
		return keys.candidates(kid, t.Method.Alg())
	})
	if byAny && errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		return nil, errNoKeyVerifies
	}
	return claims.text, err
}

// keyID returns the kid of a header, or nothing where there is none.
func keyID(header map[string]any) (string, error) {
	// It names extensions that must be understood, and none are.
	if _, ok := header["crit"]; ok {
		return "", refusedError("it has crit in its header")
	}
	value, ok := header["kid"]
	if !ok {
		return "", nil
	}
	kid, ok := value.(string)
	if !ok || kid == "" || len(kid) > maxKeyIDBytes {
		return "", refusedError("its kid is not a string of 1 to 256 bytes")
	}
	return kid, nil
}

// unreadClaims leaves the claims unread while anybody may have sent them: that
// can cost more than to verify a signature.
type unreadClaims struct {
	jwt.MapClaims // none; it makes them a jwt.Claims
	text          []byte
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *unreadClaims) UnmarshalJSON(text []byte) error {
	c.text = bytes.Clone(text)
	return nil
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

// isNoPlatform says whether a name cannot be that of a platform. One with U+FFFD
// cannot: a decoder puts it for whatever is no character, so that names that
// were not the same would be.
func isNoPlatform(name string) bool {
	return name == "" || utf8.RuneCountInString(name) > maxPlatform ||
		strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsRune(name, utf8.RuneError)
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

// refusal is the error for a token that is refused because of err. Its text is
// one of a few: what the library's errors quote can come from the token.
func refusal(err error) error {
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

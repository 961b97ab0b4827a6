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

	"github.com/golang-jwt/jwt/v5"

	"example.com/chargeingest"
)

const (
	// maxTokenBytes bounds a token before anything of it is read.
	maxTokenBytes = 8 << 10

	// maxKeyIDBytes bounds the kid of a token and of a key.
	maxKeyIDBytes = 256

	// maxSubject is how many characters of a subject are kept, for the log.
	maxSubject = 128

	// lastDate is the end of the year 9999. What is beyond is no date, and can
	// overflow on its way to one.
	lastDate = 253402300799
)

// Authorizer authorizes requests by tokens. It is safe for concurrent use.
type Authorizer struct {
	cfg       Config
	validator *jwt.Validator // of the claims
	slots     slots
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
	a := &Authorizer{cfg: cfg, validator: newValidator(cfg), slots: newSlots()}
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
// decides alone; chargeingest.ErrInvalidCredential for a token that does not verify;
// chargeingest.ErrForbidden for one without the permission or without a
// platform. Any other error reports that the token could not be verified: the keys
// could not be fetched or not be fetched again yet, or the request ended while other
// tokens were being verified. If it is known when the token can be verified, the
// error has a method RetryAfter() time.Duration. No error holds anything of the
// token.
func (a *Authorizer) Authorize(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
	text, err := chargeingest.APIKeyOrBearer(r)
	if err != nil {
		return chargeingest.Principal{}, err
	}
	if len(r.Header.Values("X-Api-Key")) > 0 {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	if len(text) > maxTokenBytes {
		return chargeingest.Principal{}, refusal("it is longer than 8 KiB")
	}
	header := headerOf(text)
	if values(header) > maxHeaderValues {
		return chargeingest.Principal{}, refusal("its header holds too much")
	}
	if !isObject(header) {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	var claims jwt.MapClaims
	t, err := a.parse(text, header)
	if err == nil {
		claims, err = a.verify(r.Context(), t)
	}
	var reason refusedError
	switch {
	case errors.As(err, &reason):
		return chargeingest.Principal{}, refusal(reason)
	case err != nil:
		return chargeingest.Principal{}, err
	}
	return a.principal(claims, perm)
}

func refusal(reason refusedError) error {
	return fmt.Errorf("%w: %w", chargeingest.ErrInvalidCredential, reason)
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
	if len(platforms) == 0 || slices.ContainsFunc(platforms, func(name string) bool { return !isPlatform(name) }) {
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

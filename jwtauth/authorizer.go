package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"

	"example.com/chargeingest"
)

// Authorizer authorizes requests by tokens. It is safe for concurrent use.
type Authorizer struct {
	cfg       Config
	validator *jwt.Validator
	slots     slots
	keys      keySource
}

var (
	_ chargeingest.Authorizer   = (*Authorizer)(nil)
	_ chargeingest.ReadyChecker = (*Authorizer)(nil)
)

// New returns an authorizer, or an error that names the invalid field of cfg.
//
// New does not wait for the keys. Until the first fetch succeeds, tokens get 503 and
// [Authorizer.Ready] returns an error. After ctx ends the known keys stay in use.
func New(ctx context.Context, cfg Config) (*Authorizer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Authorizer{cfg: cfg, validator: newClaimsValidator(cfg), slots: newSlots()}
	if cfg.JWKSURL == "" {
		a.keys = &keySet{keys: cfg.Keys}
	} else {
		a.keys = startRemoteKeys(ctx, cfg)
	}
	return a, nil
}

// Ready returns an error until keys are loaded.
func (a *Authorizer) Ready(context.Context) error { return a.keys.ready() }

// Authorize implements [chargeingest.Authorizer]. It returns
//
//   - chargeingest.ErrNoCredential for a request with an X-API-KEY, or without a Bearer
//     token in the shape of a JWT,
//   - chargeingest.ErrInvalidCredential for an invalid token,
//   - chargeingest.ErrForbidden for a token without the permission or a platform,
//   - any other error if the token could not be verified. It may have a method
//     RetryAfter() time.Duration.
//
// Errors contain no part of the token.
func (a *Authorizer) Authorize(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
	text, err := chargeingest.APIKeyOrBearer(r)
	if err != nil {
		return chargeingest.Principal{}, err
	}
	if len(r.Header.Values("X-Api-Key")) > 0 {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	if len(text) > maxTokenBytes {
		return chargeingest.Principal{}, invalidCredential("the token is longer than 8 KiB")
	}
	header := decodeHeader(text)
	if countValues(header) > maxHeaderValues {
		return chargeingest.Principal{}, invalidCredential("the header has too many values")
	}
	if !isJSONObject(header) {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	var claims jwt.MapClaims
	t, err := a.parse(text, header)
	if err == nil {
		claims, err = a.verify(r.Context(), t)
	}
	var reason rejectedError
	switch {
	case errors.As(err, &reason):
		return chargeingest.Principal{}, invalidCredential(reason)
	case err != nil:
		return chargeingest.Principal{}, err
	}
	return a.principal(claims, perm)
}

func invalidCredential(reason rejectedError) error {
	return fmt.Errorf("%w: %w", chargeingest.ErrInvalidCredential, reason)
}

// rejectedError is a fixed text: errors of libraries can quote the token.
type rejectedError string

func (e rejectedError) Error() string { return string(e) }

const (
	errMalformed rejectedError = "the token is malformed"
	errSignature rejectedError = "the signature or the algorithm is not accepted"

	// The key may be new.
	errUnknownKey    rejectedError = "the kid is unknown"
	errNoKeyVerifies rejectedError = "the token has no kid, and no key verifies it"
)

func mayHaveNewKey(err error) bool {
	return errors.Is(err, errUnknownKey) || errors.Is(err, errNoKeyVerifies)
}

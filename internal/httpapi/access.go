// Package httpapi has what handlers next to [chargeingest.Handler] share.
package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/redact"
)

// ErrNoCredential is the error of Authorize without a credential.
var ErrNoCredential = NewError(http.StatusUnauthorized, chargeingest.CodeUnauthorised,
	"no credential that this service accepts; send an X-API-KEY header or a Bearer token, unless this service documents something else")

// Authorize returns the caller, or a [*chargeingest.Error], like [chargeingest.Handler].
func Authorize(r *http.Request, authorizer chargeingest.Authorizer, perm chargeingest.Permission) (chargeingest.Principal, error) {
	var p chargeingest.Principal
	err := chargeingest.ErrInvalidCredential
	if !redact.HasLongCredential(r.Header) {
		p, err = authorizer.Authorize(r, perm)
	}
	var timed interface{ RetryAfter() time.Duration }
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, chargeingest.ErrNoCredential):
		err = ErrNoCredential
	case errors.Is(err, chargeingest.ErrInvalidCredential):
		err = NewError(http.StatusUnauthorized, chargeingest.CodeUnauthorised, "invalid API key or token")
	case errors.Is(err, chargeingest.ErrForbidden):
		err = forbidden(perm)
	case errors.As(err, &timed):
		err = Unavailable(cannotCheck, timed.RetryAfter())
	default:
		err = Unavailable(cannotCheck, 0)
	}
	return p, err
}

const cannotCheck = "the credentials cannot be checked at the moment"

func forbidden(perm chargeingest.Permission) error {
	return NewError(http.StatusForbidden, chargeingest.CodeUserNotAllowed,
		"the caller lacks the permission "+string(perm)+", or may not use this platform")
}

// AuthorizePlatform also returns the platform selected by X-Platform-Id.
func AuthorizePlatform(r *http.Request, authorizer chargeingest.Authorizer, perm chargeingest.Permission) (p chargeingest.Principal, platform string, err error) {
	if p, err = Authorize(r, authorizer, perm); err != nil {
		return p, "", err
	}
	if len(p.Platforms) == 0 || slices.Contains(p.Platforms, "") {
		return p, "", errors.New("authorizer returned a principal without a platform")
	}
	header := r.Header.Values("X-Platform-Id")
	if len(header) == 0 {
		return p, p.Platforms[0], nil
	}
	// Callers keep the name, but header strings of fiber end with the request.
	if i := slices.Index(p.Platforms, header[0]); i >= 0 && len(header) == 1 {
		return p, p.Platforms[i], nil
	}
	return p, "", forbidden(perm)
}

package inspector

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/redact"
)

type viewer struct {
	principal chargeingest.Principal
	platform  string
}

func (a *api) scope(v viewer) scope {
	return scope{platform: v.platform, unidentified: a.cfg.ShowUnauthenticated}
}

// authorize decides like [chargeingest.Handler].
func (a *api) authorize(h http.Header, r *http.Request) (viewer, error) {
	const retryAfter = time.Second
	var p chargeingest.Principal
	err := chargeingest.ErrInvalidCredential
	if !redact.HasLongCredential(r.Header) {
		p, err = a.cfg.Authorizer.Authorize(r, chargeingest.PermissionView)
	}
	var timed interface{ RetryAfter() time.Duration }
	switch {
	case err == nil:
		return choosePlatform(p, r.Header.Values("X-Platform-Id"))
	case errors.Is(err, chargeingest.ErrNoCredential):
		h.Set("WWW-Authenticate", "Bearer")
		err = newError(http.StatusUnauthorized, chargeingest.CodeUnauthorised, "no credential that this service accepts; give an API key, or log in to the application around this page")
	case errors.Is(err, chargeingest.ErrInvalidCredential):
		h.Set("WWW-Authenticate", "Bearer")
		err = newError(http.StatusUnauthorized, chargeingest.CodeUnauthorised, "invalid API key or token")
	case errors.Is(err, chargeingest.ErrForbidden):
		err = errForbidden
	case errors.As(err, &timed):
		err = unavailable(cannotCheck, max(retryAfter, timed.RetryAfter()))
	default:
		err = unavailable(cannotCheck, retryAfter)
	}
	return viewer{}, err
}

const cannotCheck = "the credentials cannot be checked at the moment"

var errForbidden = newError(http.StatusForbidden, chargeingest.CodeUserNotAllowed,
	"the caller lacks the permission "+string(chargeingest.PermissionView)+", or may not use this platform")

func choosePlatform(p chargeingest.Principal, header []string) (viewer, error) {
	if len(p.Platforms) == 0 || slices.Contains(p.Platforms, "") {
		return viewer{}, errors.New("authorizer returned a principal without a platform")
	}
	if len(header) == 0 {
		return viewer{p, p.Platforms[0]}, nil
	}
	// The log keeps the name; header strings of fiber end with the request.
	if i := slices.Index(p.Platforms, header[0]); i >= 0 && len(header) == 1 {
		return viewer{p, p.Platforms[i]}, nil
	}
	return viewer{}, errForbidden
}

package inspector

import (
	"errors"
	"net/http"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
)

type viewer struct {
	principal chargeingest.Principal
	platform  string
}

func (a *api) scope(v viewer) scope {
	return scope{platform: v.platform, unidentified: a.cfg.ShowUnauthenticated}
}

func (a *api) authorize(r *http.Request) (viewer, error) {
	p, platform, err := httpapi.AuthorizePlatform(r, a.cfg.Authorizer, chargeingest.PermissionView)
	if errors.Is(err, httpapi.ErrNoCredential) {
		err = errNotSignedIn
	}
	return viewer{p, platform}, err
}

var errNotSignedIn = httpapi.NewError(http.StatusUnauthorized, chargeingest.CodeUnauthorised,
	"no credential that this service accepts; give an API key, or log in to the application around this page")

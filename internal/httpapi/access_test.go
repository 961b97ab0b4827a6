package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestPlatformIsNotOfHeader(t *testing.T) {
	p := chargeingest.Principal{Platforms: []string{"a", "b"}}
	anyone := chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) { return p, nil })
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["X-Platform-Id"] = []string{strings.Clone("b")}
	_, platform, err := AuthorizePlatform(r, anyone, chargeingest.PermissionView)
	require.NoError(t, err)
	require.Equal(t, "b", platform)
	require.Same(t, unsafe.StringData(p.Platforms[1]), unsafe.StringData(platform))
}

package jwtauth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

// Ed25519 signatures are unique, so only the signed tokens are valid.
func FuzzAuthorize(f *testing.F) {
	s := signer{"k", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	a, err := jwtauth.New(f.Context(), config(s))
	require.NoError(f, err)
	signed := []string{s.token(claims()), s.token(claims(), "kid", nil)}
	parts := strings.Split(signed[0], ".")
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Basic " + signed[0], signed[0],
		"Bearer " + signed[0], "bearer  " + signed[1], "Bearer " + signed[0] + ".", "Bearer " + signed[0] + "=",
		"Bearer " + parts[0] + "." + parts[1] + ".",
		"Bearer " + encoded(map[string]any{"alg": "none"}) + "." + parts[1] + ".",
		"Bearer " + parts[0] + "." + encoded(claims("sub", "root")) + "." + parts[2],
		"Bearer " + s.token(claims("exp", 1)), "Bearer " + s.token(claims(), "crit", []string{"exp"}),
		"Bearer " + hmacToken(map[string]any{"alg": "HS256", "kid": "k"}, nil),
		"Bearer " + s.token(claims(), "kid", "../k"), "Bearer " + strings.Repeat(".", 100),
		"Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","alg":"EdDSA"}`)) + "." + parts[1] + "." + parts[2],
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Authorization"] = []string{header}
		p, err := a.Authorize(r, chargeingest.PermissionIngest)
		if err == nil {
			_, token, _ := strings.Cut(strings.Trim(header, " \t"), " ")
			require.Contains(t, signed, strings.TrimLeft(token, " "))
			require.Equal(t, chargeingest.Principal{Subject: "checkout", Platforms: []string{"acme"}}, p)
			return
		}
		require.Empty(t, p)
		for part := range strings.SplitSeq(header, ".") {
			if len(part) > 40 {
				require.NotContains(t, err.Error(), part)
			}
		}
	})
}

package chargeingest_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func validKey(secret string) chargeingest.Key {
	return chargeingest.Key{
		Secret: secret, Subject: "checkout",
		Platforms: []string{"acme"}, Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
	}
}

func TestInvalidKeys(t *testing.T) {
	for want, change := range map[string]func(*chargeingest.Key){
		"exactly one of Secret and SHA256": func(k *chargeingest.Key) { k.SHA256 = make([]byte, 32) },
		"exactly one":                      func(k *chargeingest.Key) { k.Secret = "" },
		"SHA256 must have 32 bytes, not 5": func(k *chargeingest.Key) { k.Secret, k.SHA256 = "", make([]byte, 5) },
		"Platforms must not be empty":      func(k *chargeingest.Key) { k.Platforms = nil },
		"contain an empty name":            func(k *chargeingest.Key) { k.Platforms = []string{"acme", ""} },
		"Permissions must not be empty":    func(k *chargeingest.Key) { k.Permissions = nil },
		`Permissions contains "METER"`:     func(k *chargeingest.Key) { k.Permissions = []chargeingest.Permission{"METER"} },
		"duplicate of an earlier key":      func(k *chargeingest.Key) { k.Secret = "top secret" },
	} {
		t.Run(want, func(t *testing.T) {
			k := validKey("secret of the second")
			change(&k)
			_, err := chargeingest.NewKeys(validKey("top secret"), k)
			require.ErrorContains(t, err, "chargeingest: key 1: ")
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "secret of")
			require.NotContains(t, err.Error(), "top secret")
		})
	}
}

func authorize(k *chargeingest.Keys, secret string) error {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("X-Api-Key", secret)
	_, err := k.Authorize(r, chargeingest.PermissionIngest)
	return err
}

func TestReplaceKeys(t *testing.T) {
	keys, err := chargeingest.NewKeys(validKey("old"))
	require.NoError(t, err)
	require.Error(t, keys.Replace(validKey("new"), chargeingest.Key{}))
	require.NoError(t, authorize(keys, "old"), "on error the old set stays")
	require.ErrorIs(t, authorize(keys, "new"), chargeingest.ErrInvalidCredential)

	hash := sha256.Sum256([]byte("new"))
	k := validKey("")
	k.SHA256 = hash[:]
	require.NoError(t, keys.Replace(k))
	require.NoError(t, authorize(keys, "new"), "a key may be given by its hash")
	require.ErrorIs(t, authorize(keys, "old"), chargeingest.ErrInvalidCredential)
}

func TestNoKeys(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Api-Key", "secret")
	var none chargeingest.Keys
	_, err := none.Authorize(r, chargeingest.PermissionView)
	require.ErrorIs(t, err, chargeingest.ErrInvalidCredential)

	keys, err := chargeingest.NewKeys(chargeingest.Key{})
	require.Error(t, err)
	require.Nil(t, keys)
}

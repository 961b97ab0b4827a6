package jwtauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
	"example.com/chargeingest/memstore"
)

// Tokens of a login server and API keys.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026-09","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	defer login.Close()

	tokens, err := jwtauth.New(ctx, jwtauth.Config{
		JWKSURL:   login.URL,
		Issuer:    "https://login.example/",
		Audiences: []string{"https://charges.example"},
	})
	if err != nil {
		panic(err)
	}
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret:      "correct horse battery staple",
		Subject:     "checkout",
		Platforms:   []string{"acme"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
	})
	if err != nil {
		panic(err)
	}
	h, err := chargeingest.New(chargeingest.Config{
		Store:      memstore.New(),
		Authorizer: chargeingest.FirstOf(tokens, keys),
	})
	if err != nil {
		panic(err)
	}

	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "https://login.example/", "aud": "https://charges.example", "sub": "checkout",
		"exp":         time.Now().Add(time.Hour).Unix(),
		"permissions": []string{"METER_DATA.INGEST"},
		"platforms":   []string{"acme"},
	})
	t.Header["kid"] = "2026-09"
	token, err := t.SignedString(private)
	if err != nil {
		panic(err)
	}

	for _, credential := range []string{token, "correct horse battery staple", token + "A"} {
		r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", strings.NewReader(
			`{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+credential)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 201
	// 201
	// 401
}

// Public keys in the configuration, without tenants.
func ExampleNew() {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	tokens, err := jwtauth.New(context.Background(), jwtauth.Config{
		Keys:      []jwtauth.Key{{ID: "2026-09", Public: public}},
		Audiences: []string{"https://charges.example"},
		Platform:  chargeingest.DefaultPlatform,
	})
	fmt.Println(tokens.Ready(context.Background()), err)
	// Output: <nil> <nil>
}

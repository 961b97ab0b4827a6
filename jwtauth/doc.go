// Package jwtauth authorizes requests by Bearer tokens that are JWTs, signed by a login
// server. Its public keys are configured or come from a JWKS URL.
//
//	tokens, err := jwtauth.New(ctx, jwtauth.Config{
//		JWKSURL:   "https://login.example/.well-known/jwks.json",
//		Issuer:    "https://login.example/",
//		Audiences: []string{"https://charges.example"},
//	})
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: tokens})
//
// Put the tokens before API keys: chargeingest.FirstOf(tokens, keys).
//
// A valid token
//
//   - has at most 8 KiB, and at most 64 values in its header,
//   - is signed with an allowed algorithm, by a known key,
//   - has an exp in the future, and no nbf in the future,
//   - has the configured issuer and one of the audiences,
//   - has no duplicate names in its JSON, because parsers interpret them differently,
//   - has no crit, b64 or zip in its header.
//
// The jku, jwk, x5u and x5c headers are ignored. See docs/auth.md for the rotation of keys
// and the limits for forged tokens.
package jwtauth

// Package jwtauth authorizes requests by Bearer tokens that are JWTs, signed by a
// login server. Its public keys are configured or come from a JWKS URL.
//
//	tokens, err := jwtauth.New(ctx, jwtauth.Config{
//		JWKSURL:   "https://login.example/.well-known/jwks.json",
//		Issuer:    "https://login.example/",
//		Audiences: []string{"https://charges.example"},
//	})
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: tokens})
//
// To accept API keys too, put the tokens first:
//
//	chargeingest.FirstOf(tokens, keys)
//
// Requests with an X-API-KEY, and Bearer tokens that are not JWTs, are passed on to the
// keys. An API key that looks like a JWT, or exceeds 8 KiB, works only as X-API-KEY.
//
// # Valid tokens
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
// The jku, jwk, x5u and x5c headers are ignored. Set [Config.TokenTypes] if your
// login server marks access tokens, as RFC 9068 and RFC 8725 recommend.
//
// # Forged tokens
//
// Signature checks use at most half of the CPUs. A token that waits 5 seconds for
// its turn gets 503, because it may be genuine.
//
// A token without a kid is checked against every key that suits its algorithm, up to 8
// keys and 24,576 bits. P-256 and Ed25519 count as 2048 bits, P-384 as 4096, P-521 as
// 8192. If the keys exceed these limits, the token is rejected.
//
// # Key rotation
//
// The JWKS is fetched in the background, at the start and then at intervals. If a
// fetch fails, the previous keys stay in use.
//
// A token that no known key verifies, and that has an unknown kid or none, triggers a
// fetch and waits for it, unless the last one ended less than Config.MinFetchInterval
// ago. At most 256 requests wait. The token gets 401 only after a fetch that began after
// it arrived. Otherwise it gets 503, and Retry-After is the time until the next fetch may
// begin. So a rotation loses no request if the login server publishes a key before using
// it and clients honor Retry-After. A new key that reuses an old ID is found by the next
// regular fetch.
package jwtauth

// Package jwtauth authorizes requests by Bearer tokens that are JWTs: signed by
// a login server, with a private key whose public half the service has, or
// fetches from the server's JWKS URL.
//
//	tokens, err := jwtauth.New(ctx, jwtauth.Config{
//		JWKSURL:   "https://login.example/.well-known/jwks.json",
//		Issuer:    "https://login.example/",
//		Audiences: []string{"https://charges.example"},
//	})
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: tokens})
//
// # Beside API keys
//
// API keys may be sent as Bearer tokens too, so the order matters:
//
//	chargeingest.FirstOf(tokens, keys)
//
// A Bearer token without the shape of a JWT is no credential of this package's
// kind and goes on to the keys, and so does a request with an X-API-KEY. The
// other way round the keys would refuse every JWT.
//
// An API key that has the shape of a JWT, or more than 8 KiB, is refused as a
// Bearer token: send such a one as X-API-KEY.
//
// # What a token must be
//
// A token has at most 8 KiB, and at most 64 values in its header. It is signed with
// one of the algorithms of the configuration, by a key that suits it. It has an exp
// and has not expired; if it has an nbf, that has passed. It is from the issuer and
// for one of the audiences of the configuration. Its claims are read only after its
// signature was verified.
//
// Header and claims are JSON objects in UTF-8 without duplicate names: two parsers
// can read a text with duplicates in two ways. Keys come from the configuration
// alone: jku, jwk, x5u and x5c in a header are ignored. A token whose header has
// crit, b64 or zip is refused. [Config.Types] accepts access tokens alone if the
// login server marks them, as RFC 9068 and RFC 8725 (section 3.11) recommend.
//
// # What a forged token costs
//
// At most half of the CPUs verify signatures. Tokens take turns, one key each; a
// token waits as long as its request lasts, and for 5 seconds at most. Then the
// response is 503: the token may be genuine.
//
// A token with a kid is verified with the key of that name. One without a kid is
// tried with every key that suits its algorithm, at most 8 and at most 24,576 bits
// of RSA keys together: 8 keys of 3072 bits, 6 of 4096 or 3 of 8192. P-384 counts as
// 4096 bits, P-521 as 8192, P-256 and Ed25519 as 2048. With more such keys the token
// is refused, so that a login server with many keys must set kid.
//
// # Where the keys come from
//
// A JWKS is fetched in the background, at the start and then at intervals. The
// keys of the last fetch that succeeded stay in use for as long as the server
// is down, or answers nonsense. Tokens that a known key verifies wait for nothing.
// Any other may be of a new key: one with an unknown kid, or without a kid, which
// all keys are tried for. It causes a fetch and waits for its end, unless the last
// one ended less than Config.MinFetchInterval ago, so that hostile tokens, however
// many, make few fetches. Nor do more than 256 wait for a fetch.
//
// Such a token is refused with 401 only after a fetch that began when the token had
// arrived. Without one the response is 503: the next fetch is not due yet, the last
// one failed, or too many requests wait. Its Retry-After is when the next fetch may
// begin. A token that is sent again then is decided about, by a fetch of its own or
// by one that began since. So no request is lost to a rotation of keys if it is
// repeated as told and its key was published when it was sent first.
//
// For this purpose 1,024 tokens are remembered between two fetches, by their hash.
// Random tokens get 503 until a fetch is due, and 401 if it began for them.
//
// A key with the id of another that it replaces is found by the next refresh.
//
// Of a set those keys are used that are public, for signatures, sound, and
// suitable for one of the algorithms: symmetric keys never are. A set without
// any such key counts as a fetch that failed.
package jwtauth

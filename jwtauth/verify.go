package jwtauth

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxHeaderValues bounds the values in a token's header, which is read before
	// anything is verified. One with a key in it has some ten.
	maxHeaderValues = 64

	// maxKeysTried and maxBitsTried bound the signatures that are checked for one
	// token. Only a token without a kid, or a set with several keys of one kid,
	// needs more than one. A rotation has two or three keys of one algorithm:
	// three of the largest are within the bound.
	maxKeysTried = 8
	maxBitsTried = 3 * maxRSABits

	// maxSlotWait bounds how long a token waits for a slot. The context of a
	// request does not always end with its client.
	maxSlotWait = 5 * time.Second
)

// slots bounds how many signatures are checked at once.
type slots chan struct{}

// newSlots returns slots for half of the CPUs: forged tokens leave the others to
// the rest of the service.
func newSlots() slots { return make(slots, max(1, runtime.GOMAXPROCS(0)/2)) }

// acquire waits for a slot, in turn. An error is not a refusal of the token.
func (s slots) acquire(ctx context.Context) error {
	const ended = "jwtauth: the request ended before its token was verified: %w"
	if err := ctx.Err(); err != nil {
		return fmt.Errorf(ended, err)
	}
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(maxSlotWait)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("jwtauth: the token was not verified within %s, as too many others were waiting", maxSlotWait)
	case <-ctx.Done():
		return fmt.Errorf(ended, ctx.Err())
	}
}

func (s slots) release() { <-s }

// token is a token of which nothing is verified yet.
type token struct {
	alg, kid  string
	signed    string // header and claims, as they are in the token
	claims    []byte
	signature []byte
	text      string // all of it
}

// tokenHash tells tokens apart.
type tokenHash [sha256.Size]byte

// parse splits a token whose decoded header is given. It does not look into the
// claims, which can cost more than to verify a signature.
func (a *Authorizer) parse(text string, header []byte) (*token, error) {
	// Two parsers can disagree about a text with duplicate names.
	if !jsontext.Value(header).IsValid() {
		return nil, refusedError("its header has a duplicate name, or is not valid UTF-8")
	}
	var fields map[string]any
	if err := json.Unmarshal(header, &fields); err != nil {
		return nil, errMalformed
	}
	// crit names extensions that must be understood, and we know none. b64 and zip
	// change the encoding of the claims.
	for _, name := range []string{"crit", "b64", "zip"} {
		if _, ok := fields[name]; ok {
			return nil, refusedError("it has " + name + " in its header")
		}
	}
	if !a.acceptsType(fields["typ"]) {
		return nil, refusedError("its typ is not accepted")
	}
	t := &token{text: text}
	t.alg, _ = fields["alg"].(string)
	if !slices.Contains(a.cfg.Algorithms, t.alg) {
		return nil, errSignature
	}
	var err error
	if t.kid, err = keyID(fields); err != nil {
		return nil, err
	}
	end := strings.LastIndexByte(text, '.')
	t.signed = text[:end]
	strict := base64.RawURLEncoding.Strict()
	if t.claims, err = strict.DecodeString(t.signed[strings.IndexByte(t.signed, '.')+1:]); err != nil {
		return nil, errMalformed
	}
	if t.signature, err = strict.DecodeString(text[end+1:]); err != nil {
		return nil, errMalformed
	}
	return t, nil
}

// acceptsType reports whether the typ of a header is one of Config.Types.
func (a *Authorizer) acceptsType(typ any) bool {
	if len(a.cfg.Types) == 0 {
		return true
	}
	name, ok := typ.(string)
	return ok && slices.Contains(a.cfg.Types, mediaType(name))
}

// mediaType returns a typ in the form that RFC 7515, section 4.1.9, compares: a
// media type without "application/", in lower case.
func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if short, ok := strings.CutPrefix(typ, "application/"); ok && short != "" && !strings.Contains(short, "/") {
		return short
	}
	return typ
}

// keyID returns the kid of a header, or "" if it has none.
func keyID(header map[string]any) (string, error) {
	value, ok := header["kid"]
	if !ok {
		return "", nil
	}
	kid, ok := value.(string)
	if !ok || kid == "" || len(kid) > maxKeyIDBytes {
		return "", refusedError("its kid is not a string of 1 to 256 bytes")
	}
	return kid, nil
}

// verify returns the claims of a token that one of our keys signed, that is valid
// now, and meant for us. An error that is not a refusedError reports that the
// token could not be verified.
func (a *Authorizer) verify(ctx context.Context, t *token) (jwt.MapClaims, error) {
	known := a.keys.known()
	err := a.verifySignature(ctx, t, known)
	if mayBeOfNewKey(err) {
		renewed, stale := a.keys.renewed(ctx, sha256.Sum256([]byte(t.text)))
		if renewed != known {
			err = a.verifySignature(ctx, t, renewed)
		}
		if stale != nil && mayBeOfNewKey(err) {
			return nil, stale
		}
	}
	if err != nil {
		return nil, err
	}
	return a.validClaims(t.claims)
}

func mayBeOfNewKey(err error) bool {
	return errors.Is(err, errUnknownKey) || errors.Is(err, errNoKeyVerifies)
}

// verifySignature returns nil if one of the keys signed t. A slot is held for one
// key at a time, so that a token with many candidates does not delay others.
func (a *Authorizer) verifySignature(ctx context.Context, t *token, keys *keySet) error {
	candidates, err := keys.candidates(t.kid, t.alg)
	if err != nil {
		return err
	}
	method := jwt.GetSigningMethod(t.alg)
	for _, key := range candidates {
		if err := a.slots.acquire(ctx); err != nil {
			return err
		}
		if a.signedBy(t, method, key) {
			return nil
		}
	}
	if t.kid == "" {
		return errNoKeyVerifies
	}
	return errSignature
}

// signedBy reports whether key signed t, and releases the caller's slot.
func (a *Authorizer) signedBy(t *token, method jwt.SigningMethod, key crypto.PublicKey) bool {
	defer a.slots.release()
	return method.Verify(t.signed, t.signature, key) == nil
}

// validClaims returns the claims of a token that is valid now and meant for us.
func (a *Authorizer) validClaims(text []byte) (jwt.MapClaims, error) {
	if value := jsontext.Value(text); !value.IsValid() {
		return nil, refusedError("its claims are not JSON, have a duplicate name, or are not valid UTF-8")
	}
	var claims jwt.MapClaims
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, errMalformed
	}
	if err := a.validator.Validate(claims); err != nil {
		return nil, claimsRefusal(err)
	}
	for _, name := range []string{"exp", "nbf"} {
		if date, ok := claims[name].(float64); ok && (date < 0 || date > lastDate) {
			return nil, refusedError(name + " is no date")
		}
	}
	return claims, nil
}

// refusedError is the reason why a token is refused, a fixed text.
type refusedError string

func (e refusedError) Error() string { return string(e) }

const (
	errMalformed refusedError = "it is malformed"
	errSignature refusedError = "its signature or its algorithm is not accepted"
)

// claimsRefusal returns why the validator refused a token's claims. The text is
// one of a few: the library's errors can quote the token.
func claimsRefusal(err error) refusedError {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "it has expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "it is not valid yet"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return "it is for another audience"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "it is from another issuer"
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return "exp, iss or aud is missing"
	}
	return "a claim is of the wrong type"
}

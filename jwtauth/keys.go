package jwtauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

const (
	// maxSetBytes bounds a key set, decompressed.
	maxSetBytes = 1 << 20

	// maxSetKeys bounds the keys of a set, the ones that are not used included.
	maxSetKeys = 128

	// maxIgnored bounds the keys that a log line says why they are not used.
	maxIgnored = 8

	// Sizes of RSA keys. RFC 7518 requires the lower; what is above the upper
	// costs too much to verify.
	minRSABits, maxRSABits = 2048, 8192

	// maxRSAExponent bounds what verifying costs too. The usual one is 65537.
	maxRSAExponent = 1 << 24
)

// Key is a public key that tokens are verified with.
type Key struct {
	// ID is what the kid of a token says. A key without one verifies only
	// tokens without a kid. At most 256 bytes.
	ID string

	// Algorithm, if set, is the only one that the key is used with. Otherwise
	// it is used with all of Config.Algorithms that suit its type.
	Algorithm string

	// Public is an *rsa.PublicKey of 2048 to 8192 bits with an exponent of at
	// most 2^24, an *ecdsa.PublicKey on P-256, P-384 or P-521, or an
	// ed25519.PublicKey. It is not to be altered afterwards.
	Public crypto.PublicKey
}

// check returns an error for a key that is unsound or suits no algorithm.
func (k Key) check(algorithms []string) error {
	if len(k.ID) > maxKeyIDBytes {
		return fmt.Errorf("its id has more than %d bytes", maxKeyIDBytes)
	}
	if err := checkPublic(k.Public); err != nil {
		return err
	}
	if !slices.ContainsFunc(algorithms, k.suits) {
		return errors.New("it suits none of the algorithms that are accepted")
	}
	return nil
}

func checkPublic(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key == nil || key.N == nil || key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits {
			return fmt.Errorf("it is no RSA key of %d to %d bits", minRSABits, maxRSABits)
		}
		if key.E < 3 || key.E > maxRSAExponent || key.E%2 == 0 {
			return errors.New("it is no RSA key with an odd exponent from 3 to 2^24")
		}
	case *ecdsa.PublicKey:
		if key == nil || key.Curve == nil || key.X == nil || key.Y == nil { //nolint:staticcheck // ECDH panics without
			return errors.New("it is an ECDSA key without a curve or a point")
		}
		if _, err := key.ECDH(); err != nil { // the conversion checks curve and point
			return errors.New("it is no point on P-256, P-384 or P-521")
		}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("it is no Ed25519 key of %d bytes", ed25519.PublicKeySize)
		}
		if hasSmallOrder(key) {
			return errors.New("it is a point of small order, for which anybody can sign")
		}
	default:
		return fmt.Errorf("a %T is no public key of a type that is supported", key)
	}
	return nil
}

// hasSmallOrder says whether an Ed25519 key is a point of order 1, 2, 4 or 8,
// in any of its encodings. Nobody needs a private key to sign for those, and one
// of them is all zeros, which a placeholder may be.
func hasSmallOrder(key ed25519.PublicKey) bool {
	y := slices.Clone(key)
	y[len(y)-1] &= 0x7f // without the sign of x
	switch hex.EncodeToString(y) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // 0, of order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // 1, of order 1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // of order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // its negative
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p-1, of order 2
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, for 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": // p+1, for 1
		return true
	}
	return false
}

// suits says whether a signature by the algorithm can be one of the key.
func (k Key) suits(alg string) bool {
	if k.Algorithm != "" && k.Algorithm != alg {
		return false
	}
	switch key := k.Public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return key.Curve == elliptic.P256()
		case "ES384":
			return key.Curve == elliptic.P384()
		case "ES512":
			return key.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// keySource has the keys.
type keySource interface {
	// known returns the keys that there are, of which there may be none yet.
	known() *keySet

	// renewed returns the newest keys, after a fetch that it may wait for. The
	// error is nil if that fetch began after the token was first seen: then a key
	// that signed it and was published is among them. Otherwise the error says why
	// there was no such fetch, and is not one of the sentinels.
	renewed(ctx context.Context, token tokenHash) (*keySet, error)

	// ready returns nil where there are keys.
	ready() error
}

// keySet is some keys; it does not change.
type keySet struct {
	keys    []Key
	digest  [sha256.Size]byte // of the JSON that the keys were in
	ignored []string          // why others there are not used, the first few
}

func (s *keySet) known() *keySet { return s }

func (s *keySet) renewed(context.Context, tokenHash) (*keySet, error) { return s, nil }

func (s *keySet) ready() error { return nil }

// named returns the keys with an id, or all where it is empty. There can be
// several: an id is unique only among keys of one type.
func (s *keySet) named(id string) []Key {
	if id == "" {
		return s.keys
	}
	var found []Key
	for _, k := range s.keys {
		if k.ID == id {
			found = append(found, k)
		}
	}
	return found
}

// candidates returns the keys that may have signed a token with a kid, or
// without one if that is empty. They are few enough to try all of them.
func (s *keySet) candidates(kid, alg string) ([]crypto.PublicKey, error) {
	var candidates []crypto.PublicKey
	bits := 0
	named := s.named(kid)
	for _, k := range named {
		if k.suits(alg) {
			candidates = append(candidates, k.Public)
			bits += k.bits()
		}
	}
	switch {
	case len(candidates) > maxKeysTried || bits > maxBitsTried:
		return nil, refusedError("too many keys could have signed it; a kid would tell which")
	case len(candidates) > 0:
		return candidates, nil
	case kid == "":
		return nil, errNoKeyVerifies
	case len(named) == 0:
		return nil, errUnknownKey
	}
	return nil, refusedError("its algorithm does not suit the key")
}

// bits returns the cost of a verification with the key, as the size of an RSA key
// that costs about as much.
func (k Key) bits() int {
	switch key := k.Public.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen()
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P384():
			return 4096
		case elliptic.P521():
			return 8192
		}
	}
	return 2048 // P-256 and Ed25519
}

// The refusals of tokens that can be of a key that is new.
const (
	errUnknownKey    refusedError = "its kid is that of no key"
	errNoKeyVerifies refusedError = "it has no kid, and no key verifies it"
)

// parseKeySet reads a JWKS. A key that is not usable does not spoil the others;
// a set in which none is usable is an error.
func parseKeySet(data []byte, algorithms []string) (*keySet, error) {
	var members struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &members) != nil {
		return nil, errors.New("the answer is not a JSON Web Key Set")
	}
	switch {
	case len(members.Keys) == 0:
		return nil, errors.New("the answer is a set without keys")
	case len(members.Keys) > maxSetKeys:
		return nil, fmt.Errorf("the answer is a set of more than %d keys", maxSetKeys)
	}
	set := &keySet{digest: sha256.Sum256(data)}
	for i, member := range members.Keys {
		k, err := parseKey(member)
		if err == nil {
			err = k.check(algorithms)
		}
		switch {
		case err == nil:
			set.keys = append(set.keys, k)
		case len(set.ignored) < maxIgnored:
			set.ignored = append(set.ignored, fmt.Sprintf("key %d: %v", i, err))
		}
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("no key of the set can be used: %s", strings.Join(set.ignored, "; "))
	}
	return set, nil
}

// parseKey reads a JWK. Of the library it uses what turns its numbers into a
// key; certificates, and addresses of them, are left out.
func parseKey(data []byte) (Key, error) {
	var m jwkset.JWKMarshal
	switch {
	case json.Unmarshal(data, &m) != nil:
		return Key{}, errors.New("it is not a JSON Web Key")
	case m.KTY == jwkset.KtyOct:
		return Key{}, errors.New("it is symmetric")
	case m.USE != "" && m.USE != jwkset.UseSig, len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return Key{}, errors.New("it is not for verifying signatures")
	}
	numbers := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E}
	jwk, err := jwkset.NewJWKFromMarshal(numbers, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return Key{}, errors.New("it is malformed, or of a type that is not supported")
	}
	return Key{ID: m.KID, Algorithm: m.ALG.String(), Public: jwk.Key()}, nil
}

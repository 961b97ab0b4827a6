package jwtauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
)

// Key is a public key that tokens are verified with.
type Key struct {
	// ID is what the kid of a token says. A key without one verifies only
	// tokens without a kid. At most 256 bytes.
	ID string

	// Algorithm, if set, is the only one that the key is used with. Otherwise
	// it is used with all of Config.Algorithms that suit its type.
	Algorithm string

	// Public is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on
	// P-256, P-384 or P-521, or an ed25519.PublicKey. It is not to be altered
	// afterwards.
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
		if key == nil || key.N == nil || key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits ||
			key.E < 3 || key.E > math.MaxInt32 || key.E%2 == 0 {
			return fmt.Errorf("it is no RSA key of %d to %d bits", minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey:
		if key == nil || key.Curve == nil {
			return errors.New("it is an ECDSA key without a curve")
		}
		if _, err := key.ECDH(); err != nil { // the conversion checks curve and point
			return errors.New("it is no point on P-256, P-384 or P-521")
		}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("it is no Ed25519 key of %d bytes", ed25519.PublicKeySize)
		}
	default:
		return fmt.Errorf("a %T is no public key of a type that is supported", key)
	}
	return nil
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
	// find returns the keys with an id, or all where it is empty. The error is
	// a refusedError where there are none, and an *unavailableError where that
	// cannot be said.
	find(ctx context.Context, id string) ([]Key, error)

	// ready returns nil where there are keys.
	ready() error
}

// keySet is some keys; it does not change.
type keySet struct {
	keys    []Key
	digest  [sha256.Size]byte // of the JSON that the keys were in
	ignored []string          // why others there are not used, the first few
}

func (s *keySet) find(_ context.Context, id string) ([]Key, error) {
	if found := s.named(id); len(found) > 0 {
		return found, nil
	}
	return nil, errUnknownKey
}

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

const errUnknownKey refusedError = "its kid is that of no key"

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

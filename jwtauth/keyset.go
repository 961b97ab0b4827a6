package jwtauth

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

const (
	maxSetBytes = 1 << 20 // decompressed
	maxSetKeys  = 128     // unusable keys included

	maxIgnoredReasons = 8 // in a log line

	// These bound the signature checks for one token. A rotation has two or three keys of one
	// algorithm.
	maxKeysTried = 8
	maxBitsTried = 3 * maxRSABits
)

type keySource interface {
	// current may return an empty set.
	current() *keySet

	// refreshed may wait for a fetch. It returns an error unless a fetch has succeeded that
	// began after the token was first seen.
	refreshed(ctx context.Context, token tokenHash) (*keySet, error)

	ready() error
}

// keySet is immutable.
type keySet struct {
	keys    []Key
	digest  [sha256.Size]byte
	ignored []string
}

func (s *keySet) current() *keySet { return s }

func (s *keySet) refreshed(context.Context, tokenHash) (*keySet, error) { return s, nil }

func (s *keySet) ready() error { return nil }

func (s *keySet) withID(id string) []Key {
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

func (s *keySet) candidates(kid, alg string) ([]crypto.PublicKey, error) {
	var candidates []crypto.PublicKey
	bits := 0
	matching := s.withID(kid)
	for _, k := range matching {
		if k.suits(alg) {
			candidates = append(candidates, k.Public)
			bits += k.costInBits()
		}
	}
	switch {
	case len(candidates) > maxKeysTried || bits > maxBitsTried:
		return nil, rejectedError("too many keys could have signed the token; it needs a kid")
	case len(candidates) > 0:
		return candidates, nil
	case kid == "":
		return nil, errNoKeyVerifies
	case len(matching) == 0:
		return nil, errUnknownKey
	}
	return nil, rejectedError("the algorithm does not suit the key")
}

// parseKeySet skips unusable keys, and returns an error if none is usable.
func parseKeySet(data []byte, algorithms []string) (*keySet, error) {
	var fields struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &fields) != nil {
		return nil, errors.New("the response is not a JSON Web Key Set")
	}
	switch {
	case len(fields.Keys) == 0:
		return nil, errors.New("the key set is empty")
	case len(fields.Keys) > maxSetKeys:
		return nil, fmt.Errorf("the key set has more than %d keys", maxSetKeys)
	}
	set := &keySet{digest: sha256.Sum256(data)}
	for i, field := range fields.Keys {
		k, err := parseKey(field)
		if err == nil {
			err = k.check(algorithms)
		}
		switch {
		case err == nil:
			set.keys = append(set.keys, k)
		case len(set.ignored) < maxIgnoredReasons:
			set.ignored = append(set.ignored, fmt.Sprintf("key %d: %v", i, err))
		}
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("the key set has no usable key: %s", strings.Join(set.ignored, "; "))
	}
	return set, nil
}

// parseKey ignores certificates and their URLs.
func parseKey(data []byte) (Key, error) {
	var m jwkset.JWKMarshal
	switch {
	case json.Unmarshal(data, &m) != nil:
		return Key{}, errors.New("not a JSON Web Key")
	case m.KTY == jwkset.KtyOct:
		return Key{}, errors.New("a symmetric key")
	case m.USE != "" && m.USE != jwkset.UseSig, len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return Key{}, errors.New("not for verifying signatures")
	}
	numbers := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E}
	jwk, err := jwkset.NewJWKFromMarshal(numbers, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return Key{}, errors.New("malformed, or of an unsupported type")
	}
	return Key{ID: m.KID, Algorithm: m.ALG.String(), Public: jwk.Key()}, nil
}

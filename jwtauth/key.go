package jwtauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// RFC 7518 requires the minimum. The maxima bound the cost of verifying.
	minRSABits, maxRSABits = 2048, 8192
	maxRSAExponent         = 1 << 24 // usually 65537
)

// Key is a public key for verifying tokens.
type Key struct {
	// ID is the kid of the key's tokens, at most 256 bytes, or empty if they have none.
	ID string

	// Algorithm restricts the key. Default: all of Config.Algorithms that suit its type.
	Algorithm string

	// Public is an *rsa.PublicKey of 2048 to 8192 bits with an exponent of at most 2^24, an
	// *ecdsa.PublicKey on P-256, P-384 or P-521, or an ed25519.PublicKey.
	Public crypto.PublicKey
}

func (k Key) check(algorithms []string) error {
	if len(k.ID) > maxKeyIDBytes {
		return fmt.Errorf("the ID has more than %d bytes", maxKeyIDBytes)
	}
	if err := checkPublic(k.Public); err != nil {
		return err
	}
	if !slices.ContainsFunc(algorithms, k.suits) {
		return errors.New("the key suits none of the allowed algorithms")
	}
	return nil
}

func checkPublic(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key == nil || key.N == nil || key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits {
			return fmt.Errorf("not an RSA key of %d to %d bits", minRSABits, maxRSABits)
		}
		if key.E < 3 || key.E > maxRSAExponent || key.E%2 == 0 {
			return errors.New("not an RSA key with an odd exponent from 3 to 2^24")
		}
	case *ecdsa.PublicKey:
		if key == nil || key.Curve == nil || key.X == nil || key.Y == nil { //nolint:staticcheck // ECDH panics otherwise
			return errors.New("an ECDSA key without a curve or a point")
		}
		if _, err := key.ECDH(); err != nil { // checks curve and point
			return errors.New("not a point on P-256, P-384 or P-521")
		}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("not an Ed25519 key of %d bytes", ed25519.PublicKeySize)
		}
		if hasSmallOrder(key) {
			return errors.New("an Ed25519 key of small order, for which signatures need no private key")
		}
	default:
		return fmt.Errorf("type %T is not supported; pass the public key", key)
	}
	return nil
}

// hasSmallOrder finds keys of order 1, 2, 4 or 8, whose signatures need no private key.
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

// costInBits returns the size of an RSA key of equal cost.
func (k Key) costInBits() int {
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
	return 2048
}

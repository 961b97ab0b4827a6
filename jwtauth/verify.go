package jwtauth

import (
	"context"
	"crypto"
	"crypto/sha256"

	"github.com/golang-jwt/jwt/v5"
)

type tokenHash [sha256.Size]byte

// Errors of verify other than rejectedError are inconclusive.
func (a *Authorizer) verify(ctx context.Context, t *token) (jwt.MapClaims, error) {
	known := a.keys.current()
	err := a.verifySignature(ctx, t, known)
	if mayHaveNewKey(err) {
		fetched, inconclusive := a.keys.refreshed(ctx, sha256.Sum256([]byte(t.text)))
		if fetched != known {
			err = a.verifySignature(ctx, t, fetched)
		}
		if inconclusive != nil && mayHaveNewKey(err) {
			return nil, inconclusive
		}
	}
	if err != nil {
		return nil, err
	}
	return a.validateClaims(t.claims)
}

// verifySignature holds a slot for one key at a time, so that many candidates delay no
// others.
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
		if a.verifyAndRelease(t, method, key) {
			return nil
		}
	}
	if t.kid == "" {
		return errNoKeyVerifies
	}
	return errSignature
}

func (a *Authorizer) verifyAndRelease(t *token, method jwt.SigningMethod, key crypto.PublicKey) bool {
	defer a.slots.release()
	return method.Verify(t.signed, t.signature, key) == nil
}

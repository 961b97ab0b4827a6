package chargeingest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"example.com/chargeingest/internal/redact"
)

// Permission is a permission that a request requires.
type Permission string

// The permissions of the contract.
const (
	PermissionIngest Permission = "METER_DATA.INGEST" // the POST routes
	PermissionView   Permission = "METER_DATA.VIEW"   // the GET routes
)

// DefaultPlatform is the platform that authorizers of services without tenants return.
const DefaultPlatform = "default"

// Principal is the authenticated caller of a request.
type Principal struct {
	// Subject names the caller in logs. It must not be a secret.
	Subject string

	// Platforms are the tenants that the caller may act on, at least one. Requests
	// without an x-platform-id header act on the first. The handler does not change the
	// slice.
	Platforms []string
}

func (p Principal) platform(header []string) (string, error) {
	if len(p.Platforms) == 0 || slices.Contains(p.Platforms, "") {
		return "", errors.New("authorizer returned a principal without a platform; without tenants, use DefaultPlatform")
	}
	if len(header) == 0 {
		return p.Platforms[0], nil
	}
	// Stores would keep the memory of the header: see idempotencyKey.
	if i := slices.Index(p.Platforms, header[0]); i >= 0 && len(header) == 1 {
		return p.Platforms[i], nil
	}
	return "", errPlatformNotAllowed
}

// Authorizer authenticates requests and checks permissions.
type Authorizer interface {
	// Authorize returns the caller of r if it has the permission. It is called concurrently
	// and must not read the body of r. The handler itself rejects requests with more than
	// 16 KiB in all values of a credential header, with 401.
	//
	// Errors are tested with errors.Is: the response to ErrNoCredential and
	// ErrInvalidCredential is 401, and to ErrForbidden 403. Any other error means that the
	// credential could not be checked: the response is 503, and a method RetryAfter()
	// time.Duration of the error sets its Retry-After, in whole seconds and at least one,
	// the default.
	//
	// The Subject returned with an error appears in the log and in RequestStats.
	Authorize(r *http.Request, perm Permission) (Principal, error)
}

// The errors of an Authorizer.
var (
	// ErrNoCredential means no credential of the authorizer's kind. [FirstOf] continues.
	ErrNoCredential = errors.New("no credential")

	ErrInvalidCredential = errors.New("invalid credential")

	ErrForbidden = errors.New("permission denied")
)

var (
	errCredentialTooLong  = fmt.Errorf("a credential header is longer than %d bytes: %w", redact.MaxHeaderBytes, ErrInvalidCredential)
	errPlatformNotAllowed = errors.New("platform not allowed")
)

// AuthorizerFunc is a function that implements [Authorizer].
type AuthorizerFunc func(r *http.Request, perm Permission) (Principal, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(r *http.Request, perm Permission) (Principal, error) {
	return f(r, perm)
}

// FirstOf calls authorizers in order, the next only after ErrNoCredential, so that no other
// authorizer can accept an invalid credential.
func FirstOf(authorizers ...Authorizer) Authorizer {
	list := slices.Clone(authorizers)
	return AuthorizerFunc(func(r *http.Request, perm Permission) (Principal, error) {
		for _, a := range list {
			p, err := a.Authorize(r, perm)
			if !errors.Is(err, ErrNoCredential) {
				return p, err
			}
		}
		return Principal{}, ErrNoCredential
	})
}

// Key is an API key with its permissions.
type Key struct {
	// Set either Secret, of which only the hash is kept, or SHA256, the hash.
	Secret string

	SHA256 []byte

	Subject string

	Permissions []Permission

	// Permissions and Platforms have at least one entry.
	Platforms []string
}

// Keys is an Authorizer for API keys in the header X-API-KEY or, without it,
// "Authorization: Bearer <key>". Keys are held as SHA-256 hashes and compared in constant
// time.
type Keys struct {
	byPrefix atomic.Pointer[map[uint64][]keyEntry]
}

type keyEntry struct {
	hash        [sha256.Size]byte
	principal   Principal
	permissions []Permission
}

var _ Authorizer = (*Keys)(nil)

// NewKeys returns an authorizer for keys. Errors name a key by its index and contain no
// secret.
func NewKeys(keys ...Key) (*Keys, error) {
	k := new(Keys)
	if err := k.Replace(keys...); err != nil {
		return nil, err
	}
	return k, nil
}

// Replace replaces all keys at once. On error the old keys stay in use.
func (k *Keys) Replace(keys ...Key) error {
	byPrefix := make(map[uint64][]keyEntry, len(keys))
	for i, key := range keys {
		entry, err := newKeyEntry(key)
		if err != nil {
			return fmt.Errorf("chargeingest: key %d: %w", i, err)
		}
		prefix := hashPrefix(entry.hash)
		for _, other := range byPrefix[prefix] {
			if other.hash == entry.hash {
				return fmt.Errorf("chargeingest: key %d: duplicate of an earlier key", i)
			}
		}
		byPrefix[prefix] = append(byPrefix[prefix], entry)
	}
	k.byPrefix.Store(&byPrefix)
	return nil
}

func newKeyEntry(key Key) (keyEntry, error) {
	e := keyEntry{
		principal:   Principal{Subject: key.Subject, Platforms: slices.Clone(key.Platforms)},
		permissions: slices.Clone(key.Permissions),
	}
	switch {
	case (key.Secret == "") == (key.SHA256 == nil):
		return e, errors.New("exactly one of Secret and SHA256 must be set")
	case redact.TooLong([]string{key.Secret}):
		return e, fmt.Errorf("field Secret must be shorter than %d bytes, because requests with longer credentials are rejected", redact.MaxHeaderBytes)
	case key.SHA256 != nil && len(key.SHA256) != sha256.Size:
		return e, fmt.Errorf("field SHA256 must have %d bytes, not %d", sha256.Size, len(key.SHA256))
	case len(key.Platforms) == 0 || slices.Contains(key.Platforms, ""):
		return e, errors.New("field Platforms must not be empty or contain an empty name")
	case len(key.Permissions) == 0:
		return e, errors.New("field Permissions must not be empty")
	}
	for _, p := range key.Permissions {
		if p != PermissionIngest && p != PermissionView {
			return e, fmt.Errorf("field Permissions contains %q; valid are %s and %s", p, PermissionIngest, PermissionView)
		}
	}
	if key.SHA256 != nil {
		e.hash = [sha256.Size]byte(key.SHA256)
	} else {
		e.hash = sha256.Sum256([]byte(key.Secret))
	}
	return e, nil
}

// hashPrefix selects the entries to compare. Its timing reveals nothing, because callers
// cannot choose a hash.
func hashPrefix(hash [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(hash[:8]) }

// Authorize implements [Authorizer].
func (k *Keys) Authorize(r *http.Request, perm Permission) (Principal, error) {
	secret, err := APIKeyOrBearer(r)
	if err != nil {
		return Principal{}, err
	}
	entries := k.byPrefix.Load()
	if entries == nil {
		return Principal{}, ErrInvalidCredential
	}
	hash := sha256.Sum256([]byte(secret))
	for _, e := range (*entries)[hashPrefix(hash)] {
		if subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 {
			continue
		}
		if !slices.Contains(e.permissions, perm) {
			return Principal{Subject: e.principal.Subject}, ErrForbidden
		}
		return e.principal, nil
	}
	return Principal{}, ErrInvalidCredential
}

// APIKeyOrBearer returns the credential of a request: the X-API-KEY header, or the token of
// an Authorization header with the scheme Bearer. The error is ErrNoCredential if there is
// neither, and ErrInvalidCredential if a header is repeated, empty or larger than 16 KiB.
func APIKeyOrBearer(r *http.Request) (string, error) {
	keys, tokens := r.Header["X-Api-Key"], r.Header["Authorization"]
	if redact.TooLong(keys) || redact.TooLong(tokens) {
		return "", errCredentialTooLong
	}
	if len(keys) > 1 || len(tokens) > 1 {
		return "", ErrInvalidCredential
	}
	if len(keys) == 1 {
		if keys[0] == "" {
			return "", ErrInvalidCredential
		}
		return keys[0], nil
	}
	if len(tokens) == 0 {
		return "", ErrNoCredential
	}
	// HTTP allows only spaces and tabs around a value.
	scheme, token, _ := strings.Cut(strings.Trim(tokens[0], " \t"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoCredential
	}
	if token = strings.TrimLeft(token, " "); token == "" {
		return "", ErrInvalidCredential
	}
	return token, nil
}

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

// Permission is what a caller must be allowed to do.
type Permission string

// The permissions of the contract.
const (
	PermissionIngest Permission = "METER_DATA.INGEST" // the POST routes
	PermissionView   Permission = "METER_DATA.VIEW"   // the GET routes
)

// DefaultPlatform is the platform of a host that has no tenants: its Authorizer
// returns it for everybody.
const DefaultPlatform = "default"

// Principal is who a request comes from.
type Principal struct {
	// Subject names the caller in logs: never a secret.
	Subject string

	// Platforms are the tenants that the caller may act on. The first is the
	// default, for requests without an x-platform-id. At least one. An
	// Authorizer may return the same slice to many: who gets it only reads it.
	Platforms []string
}

// platform picks the platform that a request acts on.
func (p Principal) platform(header []string) (string, error) {
	if len(p.Platforms) == 0 || slices.Contains(p.Platforms, "") {
		return "", errors.New("authorizer returned a principal without a platform; a host without tenants uses DefaultPlatform")
	}
	if len(header) == 0 {
		return p.Platforms[0], nil
	}
	// Not the header's own text, which a store would keep: see idempotencyKey.
	if i := slices.Index(p.Platforms, header[0]); i >= 0 && len(header) == 1 {
		return p.Platforms[i], nil
	}
	return "", ErrForbidden
}

// Authorizer decides who a request comes from and whether it may do what it
// asks for.
type Authorizer interface {
	// Authorize returns the principal of r, who has perm. It must not read the
	// body of r. It is called from many goroutines at once. It is not called for
	// a request whose X-API-KEY, Authorization, Proxy-Authorization or Cookie
	// headers have more than 16 KiB: the response is 401.
	//
	// Errors, by errors.Is: ErrNoCredential and ErrInvalidCredential are answered
	// with 401, ErrForbidden with 403. Any other error says that the question
	// could not be answered, and gets 503. If it has a method RetryAfter()
	// time.Duration, that is when the same request may succeed: it becomes the
	// Retry-After, in whole seconds and at least one, which is the default.
	//
	// The Subject of a principal that comes with an error is in the log and the
	// RequestStats of the refusal.
	Authorize(r *http.Request, perm Permission) (Principal, error)
}

var (
	// ErrNoCredential says that the request has no credential of the kind
	// that the authorizer reads; see [FirstOf].
	ErrNoCredential = errors.New("no credential")

	// ErrInvalidCredential says that the credential does not verify.
	ErrInvalidCredential = errors.New("credential does not verify")

	// ErrForbidden says that the caller is known and lacks the permission.
	ErrForbidden = errors.New("permission denied")
)

var errCredentialTooLong = fmt.Errorf("a credential header is longer than %d bytes: %w", redact.MaxHeaderBytes, ErrInvalidCredential)

// AuthorizerFunc makes an Authorizer out of a function.
type AuthorizerFunc func(r *http.Request, perm Permission) (Principal, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(r *http.Request, perm Permission) (Principal, error) {
	return f(r, perm)
}

// FirstOf asks the authorizers in turn. It goes on to the next only where one
// finds no credential of its kind: a credential that does not verify is not
// rescued by another.
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

// Key is an API key and what its bearer may do.
type Key struct {
	// Secret is the key itself. It is hashed and not kept.
	Secret string

	// SHA256 is the hash of the key, for hosts that do not have the key
	// itself. Exactly one of the two is set.
	SHA256 []byte

	// Subject names the bearer in logs.
	Subject string

	// Permissions of the bearer; at least one.
	Permissions []Permission

	// Platforms that the bearer may act on, the default first; at least one.
	Platforms []string
}

// Keys is an Authorizer with a set of API keys, each sent as
// "X-API-KEY: <key>" or "Authorization: Bearer <key>". Where both are sent,
// X-API-KEY decides. Keys are held as SHA-256 and compared in constant time.
type Keys struct {
	byPrefix atomic.Pointer[map[uint64][]keyEntry]
}

type keyEntry struct {
	hash        [sha256.Size]byte
	principal   Principal
	permissions []Permission
}

var _ Authorizer = (*Keys)(nil)

// NewKeys returns an authorizer for keys. Its errors name the key by index and
// never hold a secret.
func NewKeys(keys ...Key) (*Keys, error) {
	k := new(Keys)
	return k, k.Replace(keys...)
}

// Replace sets the keys anew, for rotation: requests that are being authorized
// see the old set or the new one. On error the old set stays.
func (k *Keys) Replace(keys ...Key) error {
	byPrefix := make(map[uint64][]keyEntry, len(keys))
	for i, key := range keys {
		entry, err := newKeyEntry(key)
		if err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
		prefix := hashPrefix(entry.hash)
		for _, other := range byPrefix[prefix] {
			if other.hash == entry.hash {
				return fmt.Errorf("key %d: the same key is there twice", i)
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
		return e, errors.New("exactly one of the fields Secret and SHA256 must be set")
	case redact.TooLong([]string{key.Secret}):
		return e, fmt.Errorf("field Secret must be shorter than %d bytes: a request with a longer one is refused", redact.MaxHeaderBytes)
	case key.SHA256 != nil && len(key.SHA256) != sha256.Size:
		return e, fmt.Errorf("field SHA256 must be %d bytes, it has %d", sha256.Size, len(key.SHA256))
	case len(key.Platforms) == 0 || slices.Contains(key.Platforms, ""):
		return e, errors.New("field Platforms must name at least one platform, none of them empty")
	case len(key.Permissions) == 0:
		return e, errors.New("field Permissions must have at least one permission")
	}
	for _, p := range key.Permissions {
		if p != PermissionIngest && p != PermissionView {
			return e, fmt.Errorf("unknown permission %q; there are %s and %s", p, PermissionIngest, PermissionView)
		}
	}
	if key.SHA256 != nil {
		e.hash = [sha256.Size]byte(key.SHA256)
	} else {
		e.hash = sha256.Sum256([]byte(key.Secret))
	}
	return e, nil
}

// hashPrefix finds the few entries to compare. What its lookup takes depends
// on a hash that nobody can choose without knowing the key.
func hashPrefix(hash [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(hash[:8]) }

// Authorize implements [Authorizer].
func (k *Keys) Authorize(r *http.Request, perm Permission) (Principal, error) {
	secret, err := APIKeyOrBearer(r)
	if err != nil {
		return Principal{}, err
	}
	hash := sha256.Sum256([]byte(secret))
	for _, e := range (*k.byPrefix.Load())[hashPrefix(hash)] {
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

// APIKeyOrBearer returns the credential of a request: the X-API-KEY header, or
// else the token of an Authorization header with the scheme Bearer. The error
// is ErrNoCredential, or ErrInvalidCredential for a header that is sent twice, is
// empty or has more than 16 KiB.
func APIKeyOrBearer(r *http.Request) (string, error) {
	keys, tokens := r.Header.Values("X-Api-Key"), r.Header.Values("Authorization")
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
	// Spaces and tabs are what HTTP has around a value: no other is to be lost.
	scheme, token, _ := strings.Cut(strings.Trim(tokens[0], " \t"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoCredential
	}
	if token = strings.TrimLeft(token, " "); token == "" {
		return "", ErrInvalidCredential
	}
	return token, nil
}

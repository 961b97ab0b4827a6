package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/userpath"
)

const keysUsage = `a file with a JSON list of API keys, each
{"key": "…", "subject": "…", "platforms": ["…"], "permissions": ["METER_DATA.INGEST","METER_DATA.VIEW"]}
with "key_sha256", 64 hexadecimal digits, in place of "key" where the key itself
is not to be in the file; the subject names the key's bearer in the log, and the
first platform is the default`

// credentials are the keys that were given.
type credentials struct {
	apiKey   string             // of -api-key, or empty
	fromFile []chargeingest.Key // of -keys

	// dispensable says that there is another way in than keys.
	dispensable bool
}

// authorizer returns the authorizer for the keys that were given. Where there
// are none it makes one and returns that too; it returns nothing where keys are
// dispensable.
func (c *credentials) authorizer() (keys *chargeingest.Keys, made string, err error) {
	list := slices.Clone(c.fromFile)
	if c.apiKey != "" {
		hash := sha256.Sum256([]byte(c.apiKey))
		if slices.ContainsFunc(list, func(k chargeingest.Key) bool { return [sha256.Size]byte(k.SHA256) == hash }) {
			return nil, "", errors.New("-api-key: is in the file of -keys too; it must be in one place")
		}
		list = append(list, everythingKey(c.apiKey, "api-key"))
	}
	if len(list) == 0 {
		if c.dispensable {
			return nil, "", nil
		}
		made = rand.Text()
		list = append(list, everythingKey(made, "made-at-start"))
	}
	keys, err = chargeingest.NewKeys(list...)
	return keys, made, err
}

// everythingKey may do everything where there are no tenants.
func everythingKey(key, subject string) chargeingest.Key {
	return chargeingest.Key{
		Secret: key, Subject: subject,
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
		Platforms:   []string{chargeingest.DefaultPlatform},
	}
}

// readFile takes the path of a file of keys. Its errors name the entry by index,
// and the member, and hold no value: that could be a key at the wrong place.
func (c *credentials) readFile(path string) error {
	if err := userpath.Check(path); err != nil {
		return err
	}
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return userpath.Explain(path, err)
	}
	if c.fromFile, err = parseKeys(data); err != nil {
		return fmt.Errorf("%s%w", path, err)
	}
	return nil
}

// parseKeys reads a list of keys; all that it returns have their hash alone.
// Its errors start with the place in the list.
func parseKeys(data []byte) ([]chargeingest.Key, error) {
	var entries []jsontext.Value
	if json.Unmarshal(data, &entries) != nil {
		return nil, errors.New(" must be one valid JSON list, in which no object has two members of one name")
	}
	if len(entries) == 0 {
		return nil, errors.New(" has no key; without one nobody could send events")
	}
	keys := make([]chargeingest.Key, len(entries))
	seen := make(map[[sha256.Size]byte]int)
	for i, entry := range entries {
		var err error
		if keys[i], err = parseKey(entry); err != nil {
			return nil, fmt.Errorf("[%d]%w", i, err)
		}
		hash := [sha256.Size]byte(keys[i].SHA256)
		if first, ok := seen[hash]; ok {
			return nil, fmt.Errorf("[%d] has the same key as [%d]", i, first)
		}
		seen[hash] = i
	}
	return keys, nil
}

// parseKey reads an entry of the list.
func parseKey(entry jsontext.Value) (chargeingest.Key, error) {
	var k chargeingest.Key
	var members map[string]jsontext.Value
	if json.Unmarshal(entry, &members) != nil || members == nil {
		return k, errors.New(" must be an object")
	}
	hash, err := parseMembers(members, &k)
	if err != nil {
		return k, err
	}
	sum, err := hex.DecodeString(hash)
	switch {
	case (k.Secret == "") == (hash == ""):
		return k, errors.New(" must have exactly one of key and key_sha256")
	case k.Secret != "" && !isVisibleASCII(k.Secret):
		return k, errors.New(".key must be visible ASCII characters, without spaces")
	case hash != "" && (err != nil || len(sum) != sha256.Size):
		return k, fmt.Errorf(".key_sha256 must be %d hexadecimal digits", 2*sha256.Size)
	case k.Subject == "":
		return k, errors.New(".subject must be set")
	case len(k.Platforms) == 0 || slices.Contains(k.Platforms, ""):
		return k, errors.New(".platforms must name at least one platform, none of them empty")
	case len(k.Permissions) == 0:
		return k, errors.New(".permissions must have at least one permission")
	}
	for i, p := range k.Permissions {
		if p != chargeingest.PermissionIngest && p != chargeingest.PermissionView {
			return k, fmt.Errorf(".permissions[%d] must be %s or %s", i, chargeingest.PermissionIngest, chargeingest.PermissionView)
		}
	}
	if k.Secret != "" {
		hashed := sha256.Sum256([]byte(k.Secret))
		sum = hashed[:]
	}
	k.Secret, k.SHA256 = "", sum
	return k, nil
}

// parseMembers sets the members of an entry in k, but for the hash, which it
// returns in its digits.
func parseMembers(members map[string]jsontext.Value, k *chargeingest.Key) (hash string, err error) {
	const aString, aList = "must be a string", "must be a list of strings"
	known := map[string]struct {
		dst  any
		must string
	}{
		"key": {&k.Secret, aString}, "key_sha256": {&hash, aString}, "subject": {&k.Subject, aString},
		"platforms": {&k.Platforms, aList}, "permissions": {&k.Permissions, aList},
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		member, ok := known[name]
		if !ok {
			return "", fmt.Errorf(".%s is not a known member; known are key, key_sha256, subject, platforms, permissions", name)
		}
		if json.Unmarshal(members[name], member.dst) != nil {
			return "", fmt.Errorf(".%s %s", name, member.must)
		}
	}
	return hash, nil
}

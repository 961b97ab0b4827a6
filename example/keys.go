package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/logtext"
	"example.com/chargeingest/internal/userpath"
)

const keysUsage = `JSON file with a list of API keys:
[{"key": "…", "subject": "…", "platforms": ["…"], "permissions": ["METER_DATA.INGEST","METER_DATA.VIEW"]}]
"key_sha256", 64 hexadecimal digits, can replace "key". The log names the subject. The first
platform is the default. The file is read again on SIGHUP and within four seconds of a
change; if it is not valid, the previous keys stay in use`

type keyConfig struct {
	apiKey   string // of -api-key, or empty
	path     string // of -keys, or empty
	content  digest // of the file at the start
	fromFile []chargeingest.Key
	optional bool // without keys, only tokens are accepted
	keys     *chargeingest.Keys
}

// authorizer generates a key if there is none, unless keys are optional.
func (c *keyConfig) authorizer() (keys *chargeingest.Keys, generated string, err error) {
	list, err := c.with(c.fromFile)
	if err != nil {
		return nil, "", err
	}
	if len(list) == 0 {
		if c.optional {
			return nil, "", nil
		}
		generated = rand.Text()
		list = append(list, fullAccessKey(generated, "generated-key"))
	}
	c.keys, err = chargeingest.NewKeys(list...)
	return c.keys, generated, err
}

func (c *keyConfig) with(fromFile []chargeingest.Key) ([]chargeingest.Key, error) {
	list := slices.Clone(fromFile)
	if c.apiKey == "" {
		return list, nil
	}
	hash := sha256.Sum256([]byte(c.apiKey))
	if slices.ContainsFunc(list, func(k chargeingest.Key) bool { return [sha256.Size]byte(k.SHA256) == hash }) {
		return nil, errors.New("-api-key: must not also be in the file of -keys")
	}
	return append(list, fullAccessKey(c.apiKey, "api-key")), nil
}

func fullAccessKey(key, subject string) chargeingest.Key {
	return chargeingest.Key{
		Secret: key, Subject: subject,
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
		Platforms:   []string{chargeingest.DefaultPlatform},
	}
}

// readFile names the entry and field in errors, but no value: it could be a key.
func (c *keyConfig) readFile(path string) error {
	if err := userpath.Check(path); err != nil {
		return err
	}
	data, err := readLimited(path)
	if err != nil {
		return err
	}
	c.path, c.content = path, digestOf(data)
	c.fromFile, err = c.parse(data)
	return err
}

func (c *keyConfig) parse(data []byte) ([]chargeingest.Key, error) {
	list, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s%w", c.path, err)
	}
	return list, nil
}

// replace returns attrs for the log.
func (c *keyConfig) replace(contents [][]byte) (attrs []any, err error) {
	fromFile, err := c.parse(contents[0])
	if err != nil {
		return nil, err
	}
	list, err := c.with(fromFile)
	if err != nil {
		return nil, err
	}
	if err := c.keys.Replace(list...); err != nil {
		return nil, err
	}
	added, changed := compareKeys(c.fromFile, fromFile)
	removed, _ := compareKeys(fromFile, c.fromFile)
	c.fromFile = fromFile
	return []any{"keys", len(fromFile), "added", added, "removed", removed, "changed", changed}, nil
}

// compareKeys returns the subjects of keys missing in other, and of those that differ.
func compareKeys(other, list []chargeingest.Key) (missing, different string) {
	known := make(map[digest]chargeingest.Key)
	for _, k := range other {
		known[digest(k.SHA256)] = k
	}
	var missingKeys, differentKeys []string
	for _, k := range list {
		switch o, ok := known[digest(k.SHA256)]; {
		case !ok:
			missingKeys = append(missingKeys, k.Subject)
		case !reflect.DeepEqual(o, k):
			differentKeys = append(differentKeys, k.Subject)
		}
	}
	const maxBytes = 3 << 10
	join := func(subjects []string) string { return logtext.Bound(strings.Join(subjects, ", "), maxBytes) }
	return join(missingKeys), join(differentKeys)
}

func parseKeys(data []byte) ([]chargeingest.Key, error) {
	var entries []jsontext.Value
	if json.Unmarshal(data, &entries) != nil {
		return nil, errors.New(" must be a valid JSON list without duplicate field names")
	}
	if len(entries) == 0 {
		return nil, errors.New(" must have at least one key")
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

func parseKey(entry jsontext.Value) (chargeingest.Key, error) {
	var k chargeingest.Key
	var fields map[string]jsontext.Value
	if json.Unmarshal(entry, &fields) != nil || fields == nil {
		return k, errors.New(" must be an object")
	}
	hash, err := parseFields(fields, &k)
	if err != nil {
		return k, err
	}
	sum, err := hex.DecodeString(hash)
	switch {
	case (k.Secret == "") == (hash == ""):
		return k, errors.New(" must have exactly one of key and key_sha256")
	case k.Secret != "" && !cli.IsVisibleASCII(k.Secret):
		return k, errors.New(".key must be visible ASCII characters, without spaces")
	case hash != "" && (err != nil || len(sum) != sha256.Size):
		return k, fmt.Errorf(".key_sha256 must be %d hexadecimal digits", 2*sha256.Size)
	case k.Subject == "":
		return k, errors.New(".subject must not be empty")
	case len(k.Platforms) == 0 || slices.Contains(k.Platforms, ""):
		return k, errors.New(".platforms must be a list of at least one platform, none of them empty")
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

func parseFields(fields map[string]jsontext.Value, k *chargeingest.Key) (hash string, err error) {
	const aString, aList = "must be a string", "must be a list of strings"
	known := map[string]struct {
		dst  any
		must string
	}{
		"key": {&k.Secret, aString}, "key_sha256": {&hash, aString}, "subject": {&k.Subject, aString},
		"platforms": {&k.Platforms, aList}, "permissions": {&k.Permissions, aList},
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		field, ok := known[name]
		if !ok {
			return "", fmt.Errorf(".%s is not a known field; the fields are key, key_sha256, subject, platforms, permissions", name)
		}
		if json.Unmarshal(fields[name], field.dst) != nil {
			return "", fmt.Errorf(".%s %s", name, field.must)
		}
	}
	return hash, nil
}

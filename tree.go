package chargeingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// parseContent decodes a validated event into a tree of maps, slices, strings,
// booleans, nil and json.Number, the last as it is spelled.
func parseContent(content string) (map[string]any, error) {
	dec := jsontext.NewDecoder(bytes.NewBufferString(content))
	v, err := parseTree(dec)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("content is not a JSON object")
	}
	return object, nil
}

// parseTree has no bounds of its own: what it reads was validated.
func parseTree(dec *jsontext.Decoder) (any, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case '{':
		object := make(map[string]any)
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if object[key], err = parseTree(dec); err != nil {
				return nil, err
			}
		}
		_, err = dec.ReadToken()
		return object, err
	case '[':
		list := []any{}
		for dec.PeekKind() != ']' {
			v, err := parseTree(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.ReadToken()
		return list, err
	case '"':
		return tok.String(), nil
	case '0':
		return json.Number(tok.String()), nil
	case 't', 'f':
		return tok.Bool(), nil
	default:
		return nil, nil
	}
}

// differingPaths appends the dotted paths at which two trees differ, in
// alphabetical order within each object. A null member is an absent one.
func differingPaths(paths []string, at string, a, b any) []string {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			names := maps.Clone(a)
			maps.Copy(names, b)
			for _, name := range slices.Sorted(maps.Keys(names)) {
				paths = differingPaths(paths, joinPath(at, name), a[name], b[name])
			}
			return paths
		}
	case []any:
		if b, ok := b.([]any); ok && len(a) == len(b) {
			for i := range a {
				paths = differingPaths(paths, joinPath(at, strconv.Itoa(i)), a[i], b[i])
			}
			return paths
		}
	default: // nil and scalars
		if isScalar(b) && a == b {
			return paths
		}
	}
	return append(paths, at)
}

func isScalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// joinPath makes the dotted path of a member or entry.
func joinPath(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

package main

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func differences(t *testing.T, a, b chargeingest.ChargeEvent, untimed bool) []string {
	t.Helper()
	a.ID, b.ID = "", ""
	stored, err := a.MarshalJSON()
	require.NoError(t, err)
	sent, err := b.MarshalJSON()
	require.NoError(t, err)
	paths, err := storekit.Differences(
		chargeingest.StoredEvent{Content: string(stored), TimestampAssigned: untimed},
		&chargeingest.NewEvent{Content: string(sent), TimestampAssigned: untimed, Digest: chargeingest.Digest{1}})
	require.NoError(t, err)
	return paths
}

// respell sometimes changes the content.
func respell(r *rand.Rand, value any, depth int) any {
	switch v := value.(type) {
	case map[string]any:
		changed := make(map[string]any)
		for name, field := range v {
			if r.IntN(300) > 0 {
				changed[name] = respell(r, field, depth+1)
			}
		}
		if r.IntN(3) == 0 && depth == 0 {
			changed["unknown null"] = nil
		}
		return changed
	case []any:
		if r.IntN(100) == 0 {
			return append(v, nil)
		}
		return v
	case string:
		switch v {
		case "2026-09-01T00:00:00Z":
			return []string{v, "2026-09-01T02:00:00.000+02:00", "2026-08-31t23:59:00-00:01", "2026-09-01T00:00:00.000000001Z"}[r.IntN(4)]
		case "1":
			return []string{v, v, v, "1.0"}[r.IntN(4)]
		}
	}
	return value
}

func TestContentDigestsFindDifferences(t *testing.T) {
	r := newRandom(t)
	equal := 0
	for range 5000 {
		e := randomEvent(r)
		e.Timestamp = new("2026-09-01T00:00:00Z")
		if r.IntN(2) == 0 {
			e.Extra = append(e.Extra, chargeingest.ExtraField{Name: "n", Value: json.RawMessage(`{"b":1.0,"a":[null,{"c":null}],"d":null}`)})
		}
		text, err := e.MarshalJSON()
		require.NoError(t, err)
		var tree any
		require.NoError(t, json.Unmarshal(text, &tree))
		text, err = json.Marshal(respell(r, tree, 0))
		require.NoError(t, err)
		var other chargeingest.ChargeEvent
		if other.UnmarshalJSON(text) != nil {
			continue
		}
		fullA, untimedA, err := contentDigests(e)
		require.NoError(t, err)
		fullB, untimedB, err := contentDigests(other)
		require.NoError(t, err)
		paths := differences(t, e, other, false)
		require.Equal(t, len(paths) == 0, fullA == fullB, "%s: %s", text, paths)
		require.Equal(t, len(differences(t, e, other, true)) == 0, untimedA == untimedB, text)
		if len(paths) == 0 {
			equal++
		}
	}
	require.Greater(t, equal, 500)
	require.Less(t, equal, 4500)
}

func TestContentDigests(t *testing.T) {
	decode := func(text string) chargeingest.ChargeEvent {
		var e chargeingest.ChargeEvent
		require.NoError(t, e.UnmarshalJSON([]byte(text)))
		return e
	}
	for name, c := range map[string]struct {
		a, b  string
		equal bool
	}{
		"null and absent":             {`{"reference":null,"x":{"y":null}}`, `{"x":{}}`, true},
		"null list and absent list":   {`{"pricing_plan_subscription_selector":{"rules":null}}`, `{"pricing_plan_subscription_selector":{}}`, true},
		"empty list and absent list":  {`{"pricing_plan_subscription_selector":{"rules":[]}}`, `{"pricing_plan_subscription_selector":{}}`, false},
		"empty object and absent one": {`{"value":{}}`, `{}`, false},
		"null entry and no entry":     {`{"x":[null]}`, `{"x":[]}`, false},
		"order of unknown fields":     {`{"x":1,"y":{"a":1,"b":2}}`, `{"y":{"b":2,"a":1},"x":1}`, true},
		"escapes":                     {`{"x":"\u0041","description":"\u0041"}`, `{"x":"A","description":"A"}`, true},
		"spelling of a number":        {`{"x":1.0}`, `{"x":1}`, false},
		"spelling of a decimal":       {`{"value":{"number":"1.0"}}`, `{"value":{"number":"1"}}`, false},
		"empty and absent reference":  {`{"reference":""}`, `{}`, false},
		"period as instants":          {`{"period":{"end_at":"2026-01-01T00:00:00Z"}}`, `{"period":{"end_at":"2026-01-01t01:00:00.0+01:00"}}`, true},
		"read-only fields":            {`{"id":"chda_1","object_type":"X"}`, `{}`, true},
	} {
		a, _, err := contentDigests(decode(c.a))
		require.NoError(t, err)
		b, _, err := contentDigests(decode(c.b))
		require.NoError(t, err)
		require.Equal(t, c.equal, a == b, name)
	}
}

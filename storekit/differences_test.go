package storekit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

func TestDifferences(t *testing.T) {
	stored := chargeingest.StoredEvent{Content: `{"a":"1","value":{"number":"1.0","id":"x"},"list":[1,2],"timestamp":"T"}`}
	for _, c := range []struct {
		name, sent string
		want       []string
	}{
		{"order and white space are ignored", `{"list": [1, 2], "value":{"id":"x","number":"1.0"},"a":"1","timestamp":"T"}`, nil},
		{"escapes are ignored", `{"\u0061":"\u0031","value":{"number":"1.0","id":"x"},"list":[1,2],"timestamp":"T"}`, nil},
		{"null equals absent", `{"a":"1","b":null,"value":{"number":"1.0","id":"x","c":null},"list":[1,2],"timestamp":"T"}`, nil},
		{"strings are compared as sent", `{"a":"1","value":{"number":"1","id":"x"},"list":[1,2],"timestamp":"T"}`, []string{"value.number"}},
		{"numbers are compared as sent", `{"a":"1","value":{"number":"1.0","id":"x"},"list":[1,2.0],"timestamp":"T"}`, []string{"list.1"}},
		{"a missing object", `{"a":"1","list":[1,2],"timestamp":"T"}`, []string{"value"}},
		{"a longer list", `{"a":"1","value":{"number":"1.0","id":"x"},"list":[1,2,3],"timestamp":"T"}`, []string{"list"}},
		{"a list with another null", `{"a":"1","value":{"number":"1.0","id":"x"},"list":[1,2,null],"timestamp":"T"}`, []string{"list"}},
		{"entries of a list", `{"a":"2","value":{"number":"1.0","id":"x"},"list":[1,3],"timestamp":"T"}`, []string{"a", "list.1"}},
		{"another type", `{"a":{},"value":"x","list":{},"timestamp":"T"}`, []string{"a", "list", "value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Differences(stored, &chargeingest.NewEvent{Content: c.sent, Digest: chargeingest.Digest{1}})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	_, err := Differences(chargeingest.StoredEvent{ID: "chda_x", Content: `{`}, &chargeingest.NewEvent{Content: `{}`, Digest: chargeingest.Digest{1}})
	require.ErrorContains(t, err, "chda_x")
	_, err = Differences(chargeingest.StoredEvent{Content: `{}`}, &chargeingest.NewEvent{Content: `[]`, Digest: chargeingest.Digest{1}})
	require.Error(t, err)
}

func TestDifferencesOfTimestamps(t *testing.T) {
	for _, c := range []struct {
		name, stored, sent string
		want               []string
	}{
		{"timestamp", `{"timestamp":"2026-05-01T00:00:00Z"}`, `{"timestamp":"2026-05-01t02:00:00.000+02:00"}`, nil},
		{"period", `{"period":{"start_at":"2026-05-01T00:00:00Z","end_at":"2026-06-01T00:00:00Z"}}`,
			`{"period":{"start_at":"2026-05-01T00:00:00+00:00","end_at":"2026-06-01T01:00:00+01:00"}}`, nil},
		{"another instant", `{"timestamp":"2026-05-01T00:00:00Z"}`, `{"timestamp":"2026-05-01T00:00:00.001Z"}`, []string{"timestamp"}},
		{"another string", `{"description":"2026-05-01T00:00:00Z"}`, `{"description":"2026-05-01T00:00:00+00:00"}`, []string{"description"}},
		{"an unknown field named timestamp", `{"value":{"timestamp":"2026-05-01T00:00:00Z"}}`,
			`{"value":{"timestamp":"2026-05-01T00:00:00+00:00"}}`, []string{"value.timestamp"}},
		{"an unknown field with a dot", `{"period.start_at":"2026-05-01T00:00:00Z"}`,
			`{"period.start_at":"2026-05-01T00:00:00+00:00"}`, []string{"period.start_at"}},
		{"a number as the timestamp", `{"timestamp":"2026-05-01T00:00:00Z"}`, `{"timestamp":5}`, []string{"timestamp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Differences(chargeingest.StoredEvent{Content: c.stored}, &chargeingest.NewEvent{Content: c.sent, Digest: chargeingest.Digest{1}})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestDifferencesAreBounded(t *testing.T) {
	object := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":%s`, i, value)
		}
		return "{" + b.String()[1:] + "}"
	}
	long := strings.Repeat("n", 10_000)
	for name, c := range map[string]struct{ stored, sent string }{
		"many fields":              {object(500, "1"), object(500, "2")},
		"fields below a long name": {`{"` + long + `":` + object(500, "1") + `}`, `{"` + long + `":` + object(500, "2") + `}`},
		"missing fields":           {object(500, "1"), `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Differences(chargeingest.StoredEvent{Content: c.stored}, &chargeingest.NewEvent{Content: c.sent, Digest: chargeingest.Digest{1}})
			require.NoError(t, err)
			require.NotEmpty(t, got)
			require.LessOrEqual(t, len(got), maxDifferences)
			for _, path := range got {
				require.LessOrEqual(t, len([]rune(path)), limits.MaxEchoedChars)
			}
		})
	}
}

func FuzzDifferences(f *testing.F) {
	f.Add(`{"a":[1,{"b":null}],"c":{"d":1.0}}`, `{"c":{"d":1.0,"e":null},"a":[1,{}]}`)
	f.Add(`{"a":{"b":{"c":1}}}`, `{"a":{"b":{"c":2}},"\ud83d\ude00":1}`)
	f.Add(`{"\u0061":"\/","b":[[],[null]]}`, `{"b":[[],[]],"a":"/"}`)
	f.Add("{\"\uffff\":1,\"\U0001f600\":2}", "{\"\U0001f600\":2,\"\uffff\":1}")
	f.Fuzz(func(t *testing.T, stored, sent string) {
		if !isObject(stored) || !isObject(sent) {
			return
		}
		got, err := Differences(chargeingest.StoredEvent{Content: stored}, &chargeingest.NewEvent{Content: sent, Digest: chargeingest.Digest{1}})
		require.NoError(t, err)
		require.Equal(t, sameTree(treeOf(t, stored), treeOf(t, sent)), len(got) == 0, "%q", got)
		back, err := Differences(chargeingest.StoredEvent{Content: sent}, &chargeingest.NewEvent{Content: stored, Digest: chargeingest.Digest{1}})
		require.NoError(t, err)
		require.Equal(t, len(got) == 0, len(back) == 0)
	})
}

func isObject(text string) bool {
	v := jsontext.Value(text)
	return v.Format() == nil && v.Kind() == '{' && !bytes.Contains(v, []byte("timestamp")) && !bytes.Contains(v, []byte("_at"))
}

func treeOf(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var tree map[string]any
	require.NoError(t, d.Decode(&tree))
	return tree
}

func sameTree(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return false
		}
		names := maps.Clone(a)
		maps.Copy(names, b)
		for name := range names {
			if !sameTree(a[name], b[name]) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameTree(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

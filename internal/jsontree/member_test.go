package jsontree_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/jsontree"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		fails            bool
	}{
		{"first", `{"reference":"a","b":1}`, `"a"`, false},
		{"last, with white space", ` {"b":[1,{"c":2}], "reference" : null }`, `null`, false},
		{"after one in an object", `{"value":{"reference":"x"},"reference":"a"}`, `"a"`, false},
		{"after one in a text", `{"b":"\"reference\":\"x\"","reference":"a"}`, `"a"`, false},
		{"only in an object", `{"value":{"reference":"x"}}`, ``, false},
		{"another name", `{"customer_reference":"x"}`, ``, false},
		{"an object without members", `{}`, ``, false},
		{"before damage", `{"reference":"a",`, `"a"`, false},
		{"after damage", `{"b":,"reference":"a"}`, ``, true},
		{"a list", `["reference"]`, ``, true},
		{"nothing", ``, ``, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			start, end, err := jsontree.Find([]byte(c.text), `"reference"`)
			require.Equal(t, c.want, c.text[start:end])
			require.Equal(t, c.fails, err != nil, err)
		})
	}
}

package jsontree_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/jsontree"
)

func TestComparePaths(t *testing.T) {
	for _, c := range [][2]string{
		{"data.2.field", "data.10.field"}, {"data", "data.0"}, {"data.1.field", "data.1.value"}, {"a.b", "aa"}, {"10", "a"},
	} {
		require.Negative(t, jsontree.ComparePaths(c[0], c[1]), c)
		require.Positive(t, jsontree.ComparePaths(c[1], c[0]), c)
	}
}

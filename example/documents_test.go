package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOptionsAreDocumented(t *testing.T) {
	document, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	p, out := newProgram(), new(strings.Builder)
	p.stdout = out
	require.Zero(t, p.run(t.Context(), []string{"-help"}))
	options := regexp.MustCompile(`(?m)^  (-[a-z-]+).*\(or (\w+)\)`).FindAllStringSubmatch(out.String(), -1)
	require.Greater(t, len(options), 15)
	for _, o := range options {
		assert.Contains(t, string(document), "`"+o[1]+"`")
		assert.Equal(t, "CHARGEINGEST"+strings.ToUpper(strings.ReplaceAll(o[1], "-", "_")), o[2])
	}
}

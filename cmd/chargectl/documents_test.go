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
	var documents string
	for _, name := range []string{"data", "operations"} {
		text, err := os.ReadFile("../../docs/" + name + ".md")
		require.NoError(t, err)
		documents += string(text)
	}
	for _, c := range commands {
		assert.Contains(t, documents, "`chargectl "+c.name)
		p, out := newProgram(), new(strings.Builder)
		p.stdout = out
		require.Zero(t, p.run(t.Context(), append(strings.Fields(c.name), "-help")))
		options := regexp.MustCompile(`(?m)^  (-[a-z-]+)`).FindAllStringSubmatch(out.String(), -1)
		for _, o := range options {
			assert.Contains(t, documents, "`"+o[1], c.name)
		}
	}
}

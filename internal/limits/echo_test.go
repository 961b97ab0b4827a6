package limits_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
)

func TestShorten(t *testing.T) {
	require.Equal(t, strings.Repeat("é", 128), limits.Shorten(strings.Repeat("é", 128)))
	require.Equal(t, strings.Repeat("é", 127)+"…", limits.Shorten(strings.Repeat("é", 129)))
}

package tail

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuffer(t *testing.T) {
	var b Buffer
	require.Empty(t, b.String())
	for _, text := range []string{"first ", strings.Repeat("x", maxBytes), " last\n"} {
		n, err := b.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, len(text), n)
	}
	require.Equal(t, strings.Repeat("x", maxBytes-len(" last\n"))+" last", b.String())
}

package tail

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheEndIsKept(t *testing.T) {
	var b Buffer
	require.Empty(t, b.String())
	for _, text := range []string{"first ", strings.Repeat("x", most), " last\n"} {
		n, err := b.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, len(text), n)
	}
	require.Equal(t, strings.Repeat("x", most-len(" last\n"))+" last", b.String())
}

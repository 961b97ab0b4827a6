package cursor_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

func TestEncodeDecode(t *testing.T) {
	for _, seq := range []int64{0, 1, 255, 1 << 40, math.MaxInt64} {
		got, err := cursor.Decode(cursor.Encode(seq))
		require.NoError(t, err)
		require.Equal(t, seq, got)
		require.Regexp(t, `^[A-Za-z0-9_-]{11}$`, cursor.Encode(seq))
	}
}

func TestDecodeInvalidCursor(t *testing.T) {
	for _, s := range []string{"", "1", "AAAAAAAAAA", "AAAAAAAAAAAA", "AAAAAAAAAA=", "AAAAAAAAAA+", "AAAAAAAAAAB", "__________8", "AAAAA\nAAAAAA"} {
		_, err := cursor.Decode(s)
		require.ErrorIs(t, err, chargeingest.ErrInvalidCursor, "%q", s)
	}
}

// Package cursor encodes a position in storage order as a cursor of listings.
package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"example.com/chargeingest"
)

// Encode returns eleven URL-safe characters.
func Encode(seq int64) string {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(seq))
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// Decode returns the sequence number of a cursor, or ErrInvalidCursor.
func Decode(s string) (int64, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder ignores line breaks.
	if err != nil || len(raw) != 8 || len(s) != base64.RawURLEncoding.EncodedLen(8) {
		return 0, fmt.Errorf("%w: %q", chargeingest.ErrInvalidCursor, s)
	}
	seq := int64(binary.BigEndian.Uint64(raw))
	if seq < 0 {
		return 0, fmt.Errorf("%w: %q", chargeingest.ErrInvalidCursor, s)
	}
	return seq, nil
}

package rfc3339_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/rfc3339"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]time.Time{
		"2026-09-01T09:00:29+09:00":      time.Date(2026, 9, 1, 0, 0, 29, 0, time.UTC),
		"2026-09-01t00:00:29.5z":         time.Date(2026, 9, 1, 0, 0, 29, 500_000_000, time.UTC),
		"0001-01-01T00:00:00+23:59":      time.Date(0, 12, 31, 0, 1, 0, 0, time.UTC),
		"9999-12-31T23:59:59.1-23:59":    time.Date(10000, 1, 1, 23, 58, 59, 100_000_000, time.UTC),
		"2024-02-29T23:59:59.999999999Z": time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
	} {
		got, ok := rfc3339.Parse(s)
		require.True(t, ok, s)
		require.True(t, want.Equal(got), "%s: %s", s, got)
	}
}

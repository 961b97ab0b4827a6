package rfc3339_test

import (
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/rfc3339"
	"example.com/chargeingest/schema"
)

// The reference is the pattern of the schema, without a calendar, and time.Parse.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"2026-09-01T09:00:29+09:00", "2026-09-01t09:00:29.000000001z", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z",
		"0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999-23:59", "2026-09-01T23:59:60Z", "2026-09-01T09:00:29,5Z",
		"2026-09-01T09:00:29.Z", "2026-09-01T9:00:29Z", "2026-09-01T09:00:29+24:00", "2026-09-01T24:00:00Z", "2026-13-01T00:00:00Z",
	} {
		f.Add(seed)
	}
	c := jsonschema.NewCompiler()
	require.NoError(f, c.AddResource(schema.ChargeEventID, strings.NewReader(schema.ChargeEvent())))
	s, err := c.Compile(schema.ChargeEventID + "#/$defs/dateTime")
	require.NoError(f, err)
	require.NotNil(f, s.Pattern)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := rfc3339.Parse(text)
		want, err := time.Parse(time.RFC3339Nano, strings.ToUpper(text))
		require.Equal(t, err == nil && s.Pattern.MatchString(text), ok, "%q", text)
		if ok {
			require.True(t, want.Equal(got), "%s: %s is not %s", text, got, want)
		}
	})
}

package chargeingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/schema"
)

func schemaDefinition(t *testing.T, name string) func(s string) bool {
	t.Helper()
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(schema.ChargeEventID, strings.NewReader(schema.ChargeEvent())))
	s, err := c.Compile(schema.ChargeEventID + "#/$defs/" + name)
	require.NoError(t, err)
	return func(value string) bool { return s.Validate(value) == nil }
}

func TestFastCheckDecimals(t *testing.T) {
	inSchema := schemaDefinition(t, "decimal")
	check := func(s string) {
		require.Equal(t, isDecimal(s), inSchema(s), "%q", s)
	}
	for whole := range maxDigits + 3 {
		for fraction := range maxDigits + 3 {
			for _, sign := range []string{"", "-"} {
				check(sign + strings.Repeat("7", whole) + strings.Repeat("0", fraction))
				check(sign + strings.Repeat("0", whole) + "." + strings.Repeat("9", fraction))
			}
		}
	}
	for _, s := range allStrings([]string{"", "0", "9", "-", "+", ".", "e", " ", "\n", "٣"}, 4) {
		check(s)
	}
}

func allStrings(parts []string, n int) []string {
	strs := []string{""}
	for range n {
		var longer []string
		for _, s := range strs {
			for _, part := range parts {
				longer = append(longer, s+part)
			}
		}
		strs = longer
	}
	slices.Sort(strs)
	return slices.Compact(strs)
}

func TestFastCheckDateTimes(t *testing.T) {
	inSchema := schemaDefinition(t, "dateTime")
	check := func(s string) {
		require.Equal(t, isDateTime(s), inSchema(s), "%q", s)
	}
	for year := range 10_000 {
		for _, day := range []string{"02-28", "02-29", "02-30"} {
			check(fmt.Sprintf("%04d-%sT00:00:00Z", year, day))
		}
	}
	for _, year := range []int{0, 1, 4, 1900, 2000, 2023, 2024, 9999} {
		for month := range 14 {
			for day := range 33 {
				check(fmt.Sprintf("%04d-%02d-%02dT00:00:00Z", year, month, day))
			}
		}
	}
	for n := range 100 {
		for _, shape := range []string{"2026-09-01T%02d:00:00Z", "2026-09-01T00:%02d:00Z", "2026-09-01T00:00:%02dZ", "2026-09-01T00:00:00+%02d:00", "2026-09-01T00:00:00-00:%02d"} {
			check(fmt.Sprintf(shape, n))
		}
	}
	for digits := range 12 {
		check("2026-09-01T00:00:00." + strings.Repeat("1", digits) + "Z")
	}
	for _, s := range []string{"2024-02-29T23:59:59.123456789+09:30", "2024-02-29t23:59:59z"} {
		for i := range len(s) {
			for _, c := range []string{"", "0", "5", "9", "T", "t", "Z", "z", "-", "+", ":", ".", ",", " ", "\n", "٣", s[i:i+1] + s[i:i+1]} {
				check(s[:i] + c + s[i+1:])
			}
		}
	}
}

package chargeingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/schemacheck"
	"example.com/chargeingest/schema"
)

// pieces is a body that arrives in pieces of some bytes. See is called before each
// of them.
type pieces struct {
	left, size int
	see        func(arrived int)
	arrived    int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.see(p.arrived)
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.size, p.left)
	clear(b[:n])
	p.left -= n
	p.arrived += n
	return n, nil
}

func TestBodyReservation(t *testing.T) {
	for _, c := range []struct {
		name           string
		declared, size int64
		piece          int
	}{
		{"a small declared body", 500, 500, 100},
		{"a small chunked body", -1, 500, 100},
		{"a large declared body", 1 << 20, 1 << 20, 1000},
		{"a large chunked body", -1, 1 << 20, 100_000},
		{"a body that is longer than declared", 10_000, 100_000, 7},
		{"a body at the limit", -1, 2 << 20, 1 << 20},
		{"one byte beyond the limit", -1, 2<<20 + 1, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			const limit = 2 << 20
			h := &Handler{cfg: Config{MaxBodyBytes: limit, MaxInFlightBytes: 64 << 20}, inFlight: limits.NewBudget(64 << 20)}
			req := &request{r: &http.Request{ContentLength: c.declared}}
			req.held.Budget = h.inFlight
			reads := 0
			req.r.Body = io.NopCloser(&pieces{left: int(c.size), size: c.piece, see: func(arrived int) {
				reads++
				held := req.held.Bytes()
				require.LessOrEqual(t, held, max(2*int64(arrived), int64(arrived)+32<<10), "%d have arrived", arrived)
				if arrived <= firstBuffer {
					require.LessOrEqual(t, held, max(int64(arrived), 32<<10))
				}
				if arrived == 0 {
					require.Zero(t, held, "nothing has arrived")
				}
				require.GreaterOrEqual(t, held, int64(arrived))
				require.LessOrEqual(t, held, int64(limit+1))
			}})
			buf, err := h.readBody(req, false)
			if c.size > limit {
				var refused *Error
				require.ErrorAs(t, err, &refused)
				require.Equal(t, http.StatusRequestEntityTooLarge, refused.Status)
				return
			}
			require.NoError(t, err)
			require.EqualValues(t, c.size, buf.Len())
			require.Equal(t, c.size, req.bytes)
			require.Positive(t, reads)
		})
	}
}

func TestHugeBuffers(t *testing.T) {
	var p bodyBuffers
	b := p.get()
	b.Grow(1 << 20)
	p.put(b)
	require.NotSame(t, b, p.get())
}

// definition returns the verdict of a definition of the schema on a string.
func definition(t *testing.T, name string) func(s string) bool {
	t.Helper()
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(schema.ChargeEventID, strings.NewReader(schema.ChargeEvent())))
	s, err := c.Compile(schema.ChargeEventID + "#/$defs/" + name)
	require.NoError(t, err)
	return func(value string) bool { return s.Validate(value) == nil }
}

func TestFastCheckDecimals(t *testing.T) {
	inSchema := definition(t, "decimal")
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
	for _, s := range everyString([]string{"", "0", "9", "-", "+", ".", "e", " ", "\n", "٣"}, 4) {
		check(s)
	}
}

// everyString returns the strings of n of the parts.
func everyString(parts []string, n int) []string {
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
	inSchema := definition(t, "dateTime")
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
	// Each character is replaced, removed and doubled.
	for _, s := range []string{"2024-02-29T23:59:59.123456789+09:30", "2024-02-29t23:59:59z"} {
		for i := range len(s) {
			for _, c := range []string{"", "0", "5", "9", "T", "t", "Z", "z", "-", "+", ":", ".", ",", " ", "\n", "٣", s[i:i+1] + s[i:i+1]} {
				check(s[:i] + c + s[i+1:])
			}
		}
	}
}

func TestEventRoundTrip(t *testing.T) {
	var ev ChargeEvent
	require.NoError(t, json.Unmarshal([]byte(fuzzEvent), &ev2{&ev}))
	text, err := json.Marshal(ev)
	require.NoError(t, err)
	var again ChargeEvent
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, ev, again)

	with := strings.Replace(fuzzEvent, `"value":{`, `"more":[1.50,null],"value":{"extra":{"a":"\u00e9"},`, 1)
	require.NoError(t, json.Unmarshal([]byte(with), &ev2{&ev}))
	require.Equal(t, []ExtraField{{Name: "more", Value: json.RawMessage(`[1.50,null]`)}}, ev.Extra)
	require.Equal(t, []ExtraField{{Name: "extra", Value: json.RawMessage(`{"a":"\u00e9"}`)}}, ev.Value.Extra)
	text, err = json.Marshal(ev)
	require.NoError(t, err)
	require.Contains(t, string(text), `"extra":{"a":"\u00e9"}`)
}

// ev2 reads an event whose id is null, as requests may have it.
type ev2 struct{ *ChargeEvent }

func (e *ev2) UnmarshalJSON(text []byte) error {
	return e.ChargeEvent.UnmarshalJSON(bytes.Replace(text, []byte(`"id":null,`), nil, 1))
}

func TestUnmarshalInvalidEvent(t *testing.T) {
	for _, text := range []string{`{"value":1}`, `{"product_item_id":null}`, `[]`, `{"period":null}`, `{"a":1}{}`, `{`} {
		var ev ChargeEvent
		require.Error(t, ev.UnmarshalJSON([]byte(text)), text)
		require.Equal(t, ChargeEvent{}, ev, "an event stays as it was on error")
	}
}

func TestMarshalInvalidUTF8(t *testing.T) {
	_, err := json.Marshal(ChargeEvent{ProductItemID: "\xff"})
	require.Error(t, err)
}

// A handler for each test, or for each input of a fuzz target, must cost little.
func TestSchemasAreCompiledOnce(t *testing.T) {
	const compiling = 20_000 // allocations, about
	require.Less(t, testing.AllocsPerRun(5, func() {
		_, err := newValidator(1000, false, schemacheck.CrossRules{})
		require.NoError(t, err)
	}), float64(compiling)/100)
}

package schemacheck

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/limits"
)

const fuzzEvent = `{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",` +
	`"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"a"}]},"reference":"r-1",` +
	`"value":{"number":"-12.50","amount":{"quantity":"0.1","currency":"EUR"}},` +
	`"period":{"start_at":"2026-05-01T00:00:00Z","end_at":"2026-06-01T00:00:00Z"},"timestamp":"2026-09-01T09:00:29+09:00"}`

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		fuzzEvent, `{"charge_datas":[` + fuzzEvent + `,{},1,null,` + fuzzEvent + `]}`, `{"charge_datas":[],"source":1}`, `{"source":1,"charge_datas":[{},{},{},{}]}`, `{"charge_datas":{}}`,
		`{}`, `[]`, ``, `{`, `{"a":1,"a":2}`, fuzzEvent + `1`, "\ufeff{}", `{"a":"\ud800"}`,
		`{"id":1e1000001}`, `{"x":[[[[]]]],"value":{"number":1e999999}}`, `{"value":` + strings.Repeat("[", 1001),
		`{"value":{"` + strings.Repeat("x", 130) + `":1,"` + strings.Repeat("x", 129) + `":1,"b":1},"10":1,"9":1}`,
		`{"value":{"number":1,"":1},"value.number":1,"period":{"start_at":"2026-05-02T00:00:00Z","end_at":"2026-05-01T00:00:00Z"}}`,
	} {
		f.Add([]byte(seed))
	}
	var checkers []*Checker
	for _, cfg := range []Config{
		{MaxEvents: 3},
		{MaxEvents: 3, KeepUnknownFields: true, Rules: CrossRules{MaxFutureSkew: time.Hour, RequireReference: true}},
	} {
		cfg.Gate = limits.NewGate(1)
		c, err := New(cfg)
		require.NoError(f, err)
		checkers = append(checkers, c)
	}
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, c := range checkers {
			for _, isBatch := range []bool{false, true} {
				err := c.Check(t.Context(), bytes.Clone(body), isBatch, now)
				requireCheckError(t, c, err, body, isBatch)
				require.Equal(t, err, c.Check(t.Context(), bytes.Clone(body), isBatch, now), "the same body has another error")
			}
		}
	})
}

func requireCheckError(t *testing.T, c *Checker, err error, body []byte, isBatch bool) {
	t.Helper()
	var malformed *MalformedError
	if err == nil || errors.Is(err, ErrGivenUp) || errors.As(err, &malformed) {
		return
	}
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	require.NotEmpty(t, invalid.Violations)
	require.LessOrEqual(t, len(invalid.Violations), MaxViolations)
	type key struct {
		code  Code
		field string
	}
	ambiguous := hasDottedName(body)
	seen := make(map[key]bool)
	var findings []finding
	for _, v := range invalid.Violations {
		require.True(t, strings.HasPrefix(v.Message, cmp.Or(v.Field, `""`)), "%q: %q", v.Field, v.Message)
		require.Contains(t, []Code{MissingField, InvalidField}, v.Code)
		require.False(t, seen[key{v.Code, v.Field}], "%s %q twice", v.Code, v.Field)
		seen[key{v.Code, v.Field}] = true
		// The rank of BatchField depends on the rule; a cut path is not the sorted one.
		if v.Field != BatchField && !strings.HasSuffix(v.Field, "…") {
			findings = append(findings, c.findingOf(v, isBatch))
		}
	}
	require.True(t, ambiguous || slices.IsSortedFunc(findings, compareFindings), "%q", findings)
}

func (c *Checker) findingOf(v Violation, isBatch bool) finding {
	f := finding{Violation: v, index: -1, rank: c.rankOf(v.Field, isBatch)}
	if rest, ok := strings.CutPrefix(v.Field, BatchField+"."); ok && isBatch {
		index, _, _ := strings.Cut(rest, ".")
		f.index, _ = strconv.Atoi(index)
	}
	return f
}

func hasDottedName(body []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		tok, err := d.ReadToken()
		if err != nil {
			return false
		}
		parent, length := d.StackIndex(d.StackDepth())
		isName := tok.Kind() == '"' && parent == '{' && length%2 == 1
		if isName && (tok.String() == "" || strings.Contains(tok.String(), ".")) {
			return true
		}
	}
}

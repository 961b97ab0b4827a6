package inspector

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestPretty(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an object", `{"a":1,"b":{"c":[true,"x"]}}`, "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      true,\n      \"x\"\n    ]\n  }\n}"},
		{"white space changes", "{ \"a\" :\r\n\t1 }\n", "{\n  \"a\": 1\n}"},
		{"empty containers", `{"a":{},"b":[ ]}`, "{\n  \"a\": {},\n  \"b\": []\n}"},
		{"numbers stay as they are", `[1e1000001,-0.0,1.10]`, "[\n  1e1000001,\n  -0.0,\n  1.10\n]"},
		{"duplicate names and their order stay", `{"b":1,"a":2,"b":3}`, "{\n  \"b\": 1,\n  \"a\": 2,\n  \"b\": 3\n}"},
		{"escapes stay", `["\u2028\"}{"]`, "[\n  \"\\u2028\\\"}{\"\n]"},
		{"a text that ends early", `{"a":[1,{"b":"tex`, "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"tex"},
		{"two values", `{"a":1} {"b":2}`, "{\n  \"a\": 1\n}\n{\n  \"b\": 2\n}"},
		{"a missing comma", `["a" "b"]`, "[\n  \"a\"\n  \"b\"\n]"},
		{"too many brackets", `[1]]}`, "[\n  1\n]\n]\n}"},
		{"a string at the end of the text", `["abc[`, "[\n  \"abc["},
		{"not JSON", `a=1&b=2`, ""},
		{"a string", `"text"`, ""},
		{"no text", ``, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, pretty([]byte(c.text), nil))
		})
	}
}

func TestPrettyKeepsTokens(t *testing.T) {
	withoutSpace := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, s)
	}
	for name, text := range map[string]string{
		"nesting":          strings.Repeat("[", 200_000),
		"nested objects":   strings.Repeat(`{"a":`, 50_000),
		"closing brackets": "[" + strings.Repeat("]", 200_000),
		"commas":           "[" + strings.Repeat(",", 200_000),
		"a long number":    `{"a":` + strings.Repeat("9", 1<<20) + "}",
		"invalid UTF-8":    "{\"a\":\"\xff\xfe\"}",
		"quotes":           "{" + strings.Repeat(`"`, 100_001),
		"backslashes":      `["` + strings.Repeat(`\`, 100_001),
	} {
		t.Run(name, func(t *testing.T) {
			lines := wantedLines([]string{"a.a.a.a", "0.0.0", "199999"})
			out := pretty([]byte(text), lines)
			if withoutSpace(text) != withoutSpace(out) {
				t.Error("tokens change")
			}
			require.LessOrEqual(t, len(out), max(minPrettyBytes, maxPrettyFactor*len(text))+len(text)+1)
		})
	}
}

func TestLinesOfFields(t *testing.T) {
	long := strings.Repeat("n", 200)
	body := `{"reference":"r","value":{"number":1,"amount":{"quantity":"1"}},
		"charge_datas":[{"a":1},{"b":{"c":[1,2,3]}}],"\u0070eriod":{"start_at":1},"x.y":5,"` + long + `":{"z":1}}`
	for _, c := range []struct {
		path, line string
	}{
		{"reference", `"reference": "r",`},
		{"value.number", `"number": 1,`},
		{"value.amount.currency", `"amount": {`},
		{"charge_datas", `"charge_datas": [`},
		{"charge_datas.1.b.c.2", `3`},
		{"charge_datas.1", `{`},
		{"charge_datas.7.b", `"charge_datas": [`},
		{"period.start_at", `"start_at": 1`},
		{"x.y", `"x.y": 5,`},
		{strings.Repeat("n", 127) + "…", `"` + long + `": {`},
		{"unknown", `{`},
		{"", `{`},
	} {
		t.Run(c.path, func(t *testing.T) {
			lines := wantedLines([]string{c.path})
			out := strings.Split(pretty([]byte(body), lines), "\n")
			require.Equal(t, c.line, strings.TrimSpace(out[lines.nearest(c.path)-1]))
		})
	}
	t.Run("a line break inside a token", func(t *testing.T) {
		lines := wantedLines([]string{"a", "b"})
		pretty([]byte("{\"a\":\"x\ny\",\"b\":1}"), lines)
		require.Equal(t, 2, lines["a"])
		require.Equal(t, 4, lines["b"])
	})
	t.Run("no body", func(t *testing.T) {
		lines := wantedLines([]string{"a"})
		pretty(nil, lines)
		require.Zero(t, lines.nearest("a"))
	})
}

func TestEventsOfBodies(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"one event", `{"reference":"a","value":{"reference":"no"},"customer_id":"c"}`, []string{"a c "}},
		{"a batch", `{"charge_datas":[{"reference":"a"},{"reference":null,"customer_reference":"d"},{}]}`, []string{"a  ", "  d", "  "}},
		{"a batch after other fields", `{"reference":"x","charge_datas":[{"reference":"a"}],"z":[{"reference":"b"}]}`, []string{"a  "}},
		{"an escaped reference", `{"reference":"\u0061"}`, []string{"a  "}},
		{"a body that ends early", `{"charge_datas":[{"reference":"a"},{"reference":"b","val`, []string{"a  ", "b  "}},
		{"a list inside", `{"x":[{"charge_datas":[{"reference":"no"}]}],"reference":"a"}`, []string{"a  "}},
		{"an empty batch", `{"charge_datas":[]}`, nil},
		{"not an object", `[{"reference":"a"}]`, nil},
		{"not JSON", `reference=a`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			eachEvent([]byte(c.body), func(e sentEvent) bool {
				got = append(got, e.reference+" "+e.customerID+" "+e.customerReference)
				return true
			})
			require.Equal(t, c.want, got)
		})
	}
}

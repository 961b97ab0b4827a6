package schema_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/schema"
)

func newCompiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(schema.ChargeEventID, strings.NewReader(schema.ChargeEvent())))
	require.NoError(t, c.AddResource(schema.ChargeEventsID, strings.NewReader(schema.ChargeEvents())))
	return c
}

func compile(t *testing.T, id string) *jsonschema.Schema {
	t.Helper()
	s, err := newCompiler(t).Compile(id)
	require.NoError(t, err)
	return s
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&v), text)
	return v
}

const completeEvent = `{
	"product_item_id": "a", "pricing_id": "b", "pricing_item_id": "c", "pricing_item_config_id": "d",
	"customer_id": "e", "customer_reference": "f",
	"pricing_plan_subscription_id": "g", "pricing_plan_subscription_reference": "h",
	"pricing_plan_subscription_selector": {
		"data": [{"field": "PRICING_PLAN_REFERENCE", "value": "x"}],
		"rules": [{"field": "PRICING_PLAN_REFERENCE", "type": "IN"}],
		"filters": [{"field": "PRICING_PLAN_REFERENCE", "type": "IN", "value": "x"}],
		"fallback": "NONE"
	},
	"reference": "i", "description": "j",
	"value": {"id": "k", "reference": "l", "number": "1", "amount": {"quantity": "1", "currency": "EUR"}, "count": "1"},
	"period": {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-02-01T00:00:00Z", "ratio": "1"},
	"timestamp": "2026-01-01T00:00:00Z",
	"id": "m", "object_type": "n"
}`

func parentOf(t *testing.T, tree any, path string) (parent any, last string) {
	t.Helper()
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		if list, ok := tree.([]any); ok {
			i, err := strconv.Atoi(part)
			require.NoError(t, err)
			tree = list[i]
			continue
		}
		require.Contains(t, tree, part)
		tree = tree.(map[string]any)[part]
	}
	return tree, parts[len(parts)-1]
}

func withField(t *testing.T, path, value string) any {
	t.Helper()
	event := parse(t, completeEvent)
	parent, last := parentOf(t, event, path)
	if list, ok := parent.([]any); ok {
		i, err := strconv.Atoi(last)
		require.NoError(t, err)
		list[i] = parse(t, value)
		return event
	}
	parent.(map[string]any)[last] = parse(t, value)
	return event
}

func withoutField(t *testing.T, path string) any {
	t.Helper()
	event := parse(t, completeEvent)
	parent, last := parentOf(t, event, path)
	require.Contains(t, parent, last)
	delete(parent.(map[string]any), last)
	return event
}

func violations(t *testing.T, s *jsonschema.Schema, v any) []string {
	t.Helper()
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	require.ErrorAs(t, err, &invalid)
	var list []string
	var collect func(*jsonschema.ValidationError)
	collect = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			path := strings.ReplaceAll(strings.TrimPrefix(e.InstanceLocation, "/"), "/", ".")
			keyword := e.KeywordLocation[strings.LastIndex(e.KeywordLocation, "/")+1:]
			list = append(list, path+" "+keyword)
		}
		for _, cause := range e.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	return list
}

func TestRealisticEventsAreValid(t *testing.T) {
	event, batch := compile(t, schema.ChargeEventID), compile(t, schema.ChargeEventsID)
	text, err := os.ReadFile("testdata/events.ndjson")
	require.NoError(t, err)
	var all []any
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		v := parse(t, lines.Text())
		require.NoError(t, event.Validate(v), lines.Text())
		all = append(all, v)
	}
	require.NotEmpty(t, all)
	require.NoError(t, batch.Validate(map[string]any{"charge_datas": all}))
	require.NoError(t, event.Validate(parse(t, completeEvent)))
}

func TestSchemaExamplesAreValid(t *testing.T) {
	examples := parse(t, schema.ChargeEvent()).(map[string]any)["examples"].([]any)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		require.NoError(t, compile(t, schema.ChargeEventID).Validate(example))
	}
}

func TestEventMustBeObject(t *testing.T) {
	event := compile(t, schema.ChargeEventID)
	for _, text := range []string{`null`, `[]`, `"x"`, `1`} {
		require.Equal(t, []string{" type"}, violations(t, event, parse(t, text)), text)
	}
}

func TestRequiredFields(t *testing.T) {
	event := compile(t, schema.ChargeEventID)
	required := []string{"product_item_id", "pricing_id", "pricing_item_id", "pricing_item_config_id"}
	for _, name := range required {
		require.Equal(t, []string{" required"}, violations(t, event, withoutField(t, name)), name)
	}
	minimal := make(map[string]any)
	for _, name := range required {
		minimal[name] = "x"
	}
	require.NoError(t, event.Validate(minimal))
}

func TestRequiredFieldsOfNestedObjects(t *testing.T) {
	const selector = "pricing_plan_subscription_selector"
	event := compile(t, schema.ChargeEventID)
	for _, path := range []string{
		"value.amount.quantity", "value.amount.currency",
		selector + ".data.0.field",
		selector + ".rules.0.field", selector + ".rules.0.type",
		selector + ".filters.0.field", selector + ".filters.0.type",
	} {
		parent := path[:strings.LastIndex(path, ".")]
		require.Equal(t, []string{parent + " required"}, violations(t, event, withoutField(t, path)), path)
	}
	for _, path := range []string{
		selector, "value", "period",
		selector + ".data", selector + ".rules", selector + ".filters", selector + ".fallback",
		selector + ".data.0.value", selector + ".filters.0.value",
		"value.id", "value.reference", "value.number", "value.amount", "value.count",
		"period.start_at", "period.end_at", "period.ratio",
		"timestamp", "id", "object_type",
	} {
		require.Empty(t, violations(t, event, withoutField(t, path)), path)
	}
}

func TestUnknownFields(t *testing.T) {
	const selector = "pricing_plan_subscription_selector"
	event := compile(t, schema.ChargeEventID)
	for _, path := range []string{
		"Reference", "value.Number", "value.amount.cents", "period.from",
		selector + ".datas", selector + ".data.0.type", selector + ".rules.0.value", selector + ".filters.0.values",
	} {
		parent := path[:max(strings.LastIndex(path, "."), 0)]
		require.Equal(t, []string{parent + " additionalProperties"}, violations(t, event, withField(t, path, `"EQUALS"`)), path)
	}
}

func TestBatch(t *testing.T) {
	batch := compile(t, schema.ChargeEventsID)
	for body, want := range map[string][]string{
		`{"charge_datas": [` + completeEvent + `,` + completeEvent + `]}`: nil,
		`{"charge_datas": []}`:                         {"charge_datas minItems"},
		`{"charge_datas": null}`:                       {"charge_datas type"},
		`{"charge_datas": ` + completeEvent + `}`:      {"charge_datas type"},
		`{"charge_datas": ["x"]}`:                      {"charge_datas.0 type"},
		`{"charge_datas": [` + completeEvent + `,{}]}`: {"charge_datas.1 required"},
		`{}`:   {" required"},
		`null`: {" type"},
		`[]`:   {" type"},
		`{"charge_datas": [` + completeEvent + `], "x": 1}`: {" additionalProperties"},
	} {
		require.Equal(t, want, violations(t, batch, parse(t, body)), body)
	}
}

// Error messages have the form "<field> must be <description>".
func TestTitlesAndDescriptions(t *testing.T) {
	for _, text := range []string{schema.ChargeEvent(), schema.ChargeEvents()} {
		root := parse(t, text).(map[string]any)
		definitions := map[string]any{"": root}
		if defs, ok := root["$defs"].(map[string]any); ok {
			for name, def := range defs {
				definitions[name] = def
			}
		}
		for name, def := range definitions {
			def := def.(map[string]any)
			require.Regexp(t, `^(an? |one of |[A-Z]+)`, def["description"], name)
			require.NotRegexp(t, `\.$`, def["description"], name)
			require.NotEmpty(t, def["title"], name)
			properties, _ := def["properties"].(map[string]any)
			for property, node := range properties {
				require.NotEmpty(t, node.(map[string]any)["title"], name+"."+property)
			}
		}
	}
}

func TestNullableDefinitionsEqualPlainOnes(t *testing.T) {
	defs := parse(t, schema.ChargeEvent()).(map[string]any)["$defs"].(map[string]any)
	for plain, nullable := range map[string]string{
		"identifier": "nullableIdentifier", "decimal": "nullableDecimal", "dateTime": "nullableDateTime",
	} {
		want, got := defs[plain].(map[string]any), defs[nullable].(map[string]any)
		require.Equal(t, []any{want["type"], "null"}, got["type"], nullable)
		require.Equal(t, want["description"].(string)+", or null", got["description"], nullable)
		for _, annotation := range []string{"title", "description", "type"} {
			delete(want, annotation)
			delete(got, annotation)
		}
		require.Equal(t, want, got, nullable)
	}
}

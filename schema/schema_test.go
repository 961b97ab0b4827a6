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

// newCompiler knows both schemas and asserts formats, as any user of them must.
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

// wholeEvent has every member of the contract, so that a case changes one
// place and all others are valid.
const wholeEvent = `{
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

// at returns the object or list that holds the last part of a path, and that part.
func at(t *testing.T, tree any, path string) (holder any, last string) {
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

// with is the whole event with one place set to a JSON text.
func with(t *testing.T, path, value string) any {
	t.Helper()
	event := parse(t, wholeEvent)
	holder, last := at(t, event, path)
	if list, ok := holder.([]any); ok {
		i, err := strconv.Atoi(last)
		require.NoError(t, err)
		list[i] = parse(t, value)
		return event
	}
	holder.(map[string]any)[last] = parse(t, value)
	return event
}

// without is the whole event with one member left out.
func without(t *testing.T, path string) any {
	t.Helper()
	event := parse(t, wholeEvent)
	holder, last := at(t, event, path)
	require.Contains(t, holder, last)
	delete(holder.(map[string]any), last)
	return event
}

// faults are the dotted paths and keywords of everything that is wrong, once each.
func faults(t *testing.T, s *jsonschema.Schema, v any) []string {
	t.Helper()
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	var verdict *jsonschema.ValidationError
	require.ErrorAs(t, err, &verdict)
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
	collect(verdict)
	return list
}

func TestEveryRealisticEventIsValid(t *testing.T) {
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
	require.NoError(t, event.Validate(parse(t, wholeEvent)))
}

func TestExamplesInTheSchemaAreValid(t *testing.T) {
	examples := parse(t, schema.ChargeEvent()).(map[string]any)["examples"].([]any)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		require.NoError(t, compile(t, schema.ChargeEventID).Validate(example))
	}
}

func TestAnEventIsAnObject(t *testing.T) {
	event := compile(t, schema.ChargeEventID)
	for _, text := range []string{`null`, `[]`, `"x"`, `1`} {
		require.Equal(t, []string{" type"}, faults(t, event, parse(t, text)), text)
	}
}

func TestOnlyTheFourIdentifiersAreRequired(t *testing.T) {
	event := compile(t, schema.ChargeEventID)
	required := []string{"product_item_id", "pricing_id", "pricing_item_id", "pricing_item_config_id"}
	for _, name := range required {
		require.Equal(t, []string{" required"}, faults(t, event, without(t, name)), name)
	}
	least := make(map[string]any)
	for _, name := range required {
		least[name] = "x"
	}
	require.NoError(t, event.Validate(least))
}

func TestRequiredMembersOfObjects(t *testing.T) {
	const selector = "pricing_plan_subscription_selector"
	event := compile(t, schema.ChargeEventID)
	for _, path := range []string{
		"value.amount.quantity", "value.amount.currency",
		selector + ".data.0.field",
		selector + ".rules.0.field", selector + ".rules.0.type",
		selector + ".filters.0.field", selector + ".filters.0.type",
	} {
		holder := path[:strings.LastIndex(path, ".")]
		require.Equal(t, []string{holder + " required"}, faults(t, event, without(t, path)), path)
	}
	for _, path := range []string{
		selector, "value", "period",
		selector + ".data", selector + ".rules", selector + ".filters", selector + ".fallback",
		selector + ".data.0.value", selector + ".filters.0.value",
		"value.id", "value.reference", "value.number", "value.amount", "value.count",
		"period.start_at", "period.end_at", "period.ratio",
		"timestamp", "id", "object_type",
	} {
		require.Empty(t, faults(t, event, without(t, path)), path)
	}
}

func TestNoObjectTakesAnUnknownMember(t *testing.T) {
	const selector = "pricing_plan_subscription_selector"
	event := compile(t, schema.ChargeEventID)
	for _, path := range []string{
		"Reference", "value.Number", "value.amount.cents", "period.from",
		selector + ".datas", selector + ".data.0.type", selector + ".rules.0.value", selector + ".filters.0.values",
	} {
		holder := path[:max(strings.LastIndex(path, "."), 0)]
		require.Equal(t, []string{holder + " additionalProperties"}, faults(t, event, with(t, path, `"EQUALS"`)), path)
	}
}

func TestBatch(t *testing.T) {
	batch := compile(t, schema.ChargeEventsID)
	for body, want := range map[string][]string{
		`{"charge_datas": [` + wholeEvent + `,` + wholeEvent + `]}`: nil,
		`{"charge_datas": []}`:                      {"charge_datas minItems"},
		`{"charge_datas": null}`:                    {"charge_datas type"},
		`{"charge_datas": ` + wholeEvent + `}`:      {"charge_datas type"},
		`{"charge_datas": ["x"]}`:                   {"charge_datas.0 type"},
		`{"charge_datas": [` + wholeEvent + `,{}]}`: {"charge_datas.1 required"},
		`{}`:   {" required"},
		`null`: {" type"},
		`[]`:   {" type"},
		`{"charge_datas": [` + wholeEvent + `], "x": 1}`: {" additionalProperties"},
	} {
		require.Equal(t, want, faults(t, batch, parse(t, body)), body)
	}
}

// The validator makes its messages of the descriptions: "<field> must be <description>".
func TestEveryRuleDescribesItselfAndEveryPropertyItsMeaning(t *testing.T) {
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

func TestANullableDefinitionHasTheRulesOfThePlainOne(t *testing.T) {
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

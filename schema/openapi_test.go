package schema_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"example.com/chargeingest/schema"
)

type object = map[string]any

func document(t *testing.T) object {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal([]byte(schema.OpenAPI()), &v))
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return parse(t, string(text)).(object)
}

func lookup(t *testing.T, doc any, pointer string) any {
	t.Helper()
	require.True(t, strings.HasPrefix(pointer, "#/"), pointer)
	v := doc
	for _, part := range strings.Split(pointer[2:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		if list, ok := v.([]any); ok {
			i, err := strconv.Atoi(part)
			require.NoError(t, err, pointer)
			v = list[i]
			continue
		}
		require.Contains(t, v, part, pointer)
		v = v.(object)[part]
	}
	return v
}

func resolve(t *testing.T, doc any, v any) object {
	t.Helper()
	node := v.(object)
	if ref, ok := node["$ref"].(string); ok {
		return resolve(t, doc, lookup(t, doc, ref))
	}
	return node
}

func walk(v any, pointer string, visit func(pointer string, node object)) {
	switch v := v.(type) {
	case object:
		visit(pointer, v)
		for name, value := range v {
			walk(value, pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), visit)
		}
	case []any:
		for i, entry := range v {
			walk(entry, pointer+"/"+strconv.Itoa(i), visit)
		}
	}
}

func strictSchemas(t *testing.T, doc object) func(pointer string) *jsonschema.Schema {
	t.Helper()
	const url = "https://example.com/chargeingest/openapi.json"
	components := lookup(t, doc, "#/components/schemas")
	walk(components, "", func(_ string, node object) {
		if node["type"] == "object" {
			node["additionalProperties"] = false
		}
	})
	text, err := json.Marshal(doc)
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(url, bytes.NewReader(text)))
	return func(pointer string) *jsonschema.Schema {
		s, err := c.Compile(url + pointer)
		require.NoError(t, err, pointer)
		return s
	}
}

func componentOf(ref string) string {
	if ref == "charge-event.schema.json" {
		return "ChargeEvent"
	}
	name := strings.TrimPrefix(ref, "#/$defs/")
	return strings.ToUpper(name[:1]) + name[1:]
}

func TestOpenAPIEqualsJSONSchemas(t *testing.T) {
	event := parse(t, schema.ChargeEvent()).(object)
	batch := parse(t, schema.ChargeEvents()).(object)
	want := object{"ChargeEvent": event, "ChargeEvents": batch}
	for name, def := range event["$defs"].(object) {
		want[componentOf(name)] = def
	}
	for _, root := range []object{event, batch} {
		for _, keyword := range []string{"$schema", "$id", "$defs"} {
			delete(root, keyword)
		}
	}
	walk(want, "", func(_ string, node object) {
		delete(node, "readOnly") // validators reject requests with such fields
		if ref, ok := node["$ref"].(string); ok {
			node["$ref"] = "#/components/schemas/" + componentOf(ref)
		}
	})
	have := lookup(t, document(t), "#/components/schemas").(object)
	for name, s := range want {
		require.Equal(t, s, have[name], name)
	}
}

// Other keywords make generators fail, or clients that reject or change responses.
func TestOpenAPIAvoidsProblematicKeywords(t *testing.T) {
	walk(document(t), "#", func(pointer string, node object) {
		if strings.Contains(pointer, "/example") || strings.HasSuffix(pointer, "/properties") {
			return
		}
		require.NotContains(t, node, "format", "%s: clients parse times and format them differently", pointer)
		require.NotContains(t, node, "allOf", "%s: generators do not merge two patterns", pointer)
		require.NotContains(t, node, "readOnly", "%s: validators reject requests with such fields", pointer)
		if node["enum"] != nil || node["const"] != nil {
			require.Contains(t, []any{"string", []any{"string", "null"}}, node["type"], "%s: without a type, values have any type", pointer)
		}
	})
}

func TestOpenAPITagsAndContact(t *testing.T) {
	doc := document(t)
	require.NotEmpty(t, lookup(t, doc, "#/info/contact/url"))
	for i, name := range []string{"ingest", "read"} {
		tag := lookup(t, doc, "#/tags").([]any)[i].(object)
		require.Equal(t, name, tag["name"])
		require.NotEmpty(t, tag["description"])
	}
}

func TestOpenAPIStoredEventHasAllFields(t *testing.T) {
	doc := document(t)
	event := lookup(t, doc, "#/components/schemas/ChargeEvent/properties").(object)
	stored := lookup(t, doc, "#/components/schemas/StoredChargeEvent").(object)
	require.ElementsMatch(t, slices.Collect(maps.Keys(event)), slices.Collect(maps.Keys(stored["properties"].(object))))
	var always []any
	for name, property := range event {
		if resolve(t, doc, property)["type"] != "object" {
			always = append(always, name)
		}
	}
	require.ElementsMatch(t, always, stored["required"], "responses have all scalars")
}

func TestOpenAPIResponsesAllowUnknownFields(t *testing.T) {
	doc := document(t)
	schemas := lookup(t, doc, "#/components/schemas").(object)
	reached := make(map[string]bool)
	var reach func(pointer string, node object)
	reach = func(pointer string, node object) {
		require.NotContains(t, node, "additionalProperties", pointer)
		if ref, ok := node["$ref"].(string); ok && !reached[ref] {
			reached[ref] = true
			walk(lookup(t, doc, ref), ref, reach)
		}
	}
	walk(doc["paths"], "#/paths", func(pointer string, node object) {
		if responses, ok := node["responses"]; ok {
			walk(responses, pointer+"/responses", reach)
		}
	})
	require.Contains(t, reached, "#/components/schemas/StoredSelectorFilter")

	open := func(name string) object {
		s := maps.Clone(schemas[name].(object))
		delete(s, "additionalProperties")
		delete(s, "title")
		return s
	}
	for name := range schemas {
		if original, ok := strings.CutPrefix(name, "Stored"); ok && !strings.HasPrefix(original, "ChargeEvent") {
			want := open(original)
			walk(want, "", func(_ string, node object) {
				ref, _ := node["$ref"].(string)
				if stored := strings.Replace(ref, "/schemas/", "/schemas/Stored", 1); ref != "" && reached[stored] {
					node["$ref"] = stored
				}
			})
			require.Equal(t, want, open(name), name)
		}
	}
}

func TestOpenAPIReferences(t *testing.T) {
	doc := document(t)
	used := make(map[string]bool)
	walk(doc, "#", func(pointer string, node object) {
		if ref, ok := node["$ref"].(string); ok {
			require.IsType(t, object{}, lookup(t, doc, ref), pointer)
			used[ref] = true
		}
	})
	for _, kind := range []string{"schemas", "parameters", "headers", "responses", "examples"} {
		for name := range lookup(t, doc, "#/components/"+kind).(object) {
			require.True(t, used["#/components/"+kind+"/"+name], "%s %s", kind, name)
		}
	}
}

func TestOpenAPIExamplesAreValid(t *testing.T) {
	doc := document(t)
	compiled := strictSchemas(t, doc)
	bodies, singles := 0, 0
	walk(doc, "#", func(pointer string, node object) {
		if content, ok := node["content"].(object); ok && !strings.Contains(pointer, "/schemas/") {
			require.NotEmpty(t, node["description"], pointer)
			require.Equal(t, []string{"application/json"}, slices.Collect(maps.Keys(content)), pointer)
			s := compiled(pointer + "/content/application~1json/schema")
			examples := content["application/json"].(object)["examples"].(object)
			require.NotEmpty(t, examples, pointer)
			for name, example := range examples {
				example := resolve(t, doc, example)
				require.NotEmpty(t, example["summary"], "%s %s", pointer, name)
				require.NoError(t, s.Validate(example["value"]), "%s %s", pointer, name)
				bodies++
			}
		}
		if example, ok := node["example"]; ok {
			require.NoError(t, compiled(pointer+"/schema").Validate(example), pointer)
			singles++
		}
	})
	require.Positive(t, bodies)
	require.Positive(t, singles)
}

func TestOpenAPIStoredExampleCanBeSentAgain(t *testing.T) {
	event := compile(t, schema.ChargeEventID)
	stored := lookup(t, document(t), "#/components/examples/StoredEvent/value")
	require.NoError(t, event.Validate(stored))
}

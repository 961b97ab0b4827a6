package chargetest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"example.com/chargeingest/chargetest"
)

type controlDocument struct {
	root    object
	schemas *jsonschema.Compiler
}

const documentURL = "https://example.com/control.json"

func readDocument(t *testing.T, srv *chargetest.Server) controlDocument {
	t.Helper()
	var tree any
	require.NoError(t, yaml.Unmarshal(serveControl(t, srv, http.MethodGet, "/openapi.yaml", "").Body.Bytes(), &tree))
	text, err := json.Marshal(tree)
	require.NoError(t, err)
	d := controlDocument{schemas: jsonschema.NewCompiler()}
	require.NoError(t, json.Unmarshal(text, &d.root))
	closeObjects(d.root["components"])
	text, err = json.Marshal(d.root)
	require.NoError(t, err)
	require.NoError(t, d.schemas.AddResource(documentURL, bytes.NewReader(text)))
	return d
}

func closeObjects(v any) {
	switch v := v.(type) {
	case object:
		if _, open := v["additionalProperties"]; v["type"] == "object" && !open {
			v["additionalProperties"] = false
		}
		for _, value := range v {
			closeObjects(value)
		}
	case []any:
		for _, value := range v {
			closeObjects(value)
		}
	}
}

func (d controlDocument) at(v any, path ...string) object {
	for _, name := range path {
		node, _ := v.(object)
		v = node[name]
		node, _ = v.(object)
		if ref, ok := node["$ref"].(string); ok {
			v = d.at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	found, _ := v.(object)
	return found
}

func (d controlDocument) operation(path, method string) object {
	return d.at(d.root, "paths", "/"+path, strings.ToLower(method))
}

func TestControlDocumentOperations(t *testing.T) {
	srv := chargetest.New(t)
	d := readDocument(t, srv)
	documented := make(map[string][]string)
	for path, item := range d.root["paths"].(object) {
		for method := range item.(object) {
			documented[path[1:]] = append(documented[path[1:]], strings.ToUpper(method))
		}
		slices.Sort(documented[path[1:]])
	}
	require.Equal(t, []string{"GET"}, documented["openapi.yaml"])
	delete(documented, "openapi.yaml")
	require.Equal(t, chargetest.ControlOperations(srv), documented)
}

func TestControlDocumentFields(t *testing.T) {
	srv := chargetest.New(t)
	d := readDocument(t, srv)
	valid := func(response object) []string {
		violations, _ := response["errors"].([]any)
		for _, v := range violations {
			if _, list, found := strings.Cut(v.(object)["message"].(string), "unknown: valid here are "); found {
				return strings.Split(list, ", ")
			}
		}
		return nil
	}
	for path, methods := range chargetest.ControlOperations(srv) {
		for _, method := range methods {
			op := d.operation(path, method)
			target := "/" + strings.ReplaceAll(path, "{id}", "1")
			var parameters []string
			list, _ := op["parameters"].([]any)
			for _, p := range list {
				if p := d.at(object{"p": p}, "p"); p["in"] == "query" {
					parameters = append(parameters, p["name"].(string))
				}
			}
			slices.Sort(parameters)
			_, response := call(t, srv, method, target+"?unknown=1", "{}")
			require.Equal(t, parameters, valid(response), method+target)
			if body := d.at(op, "requestBody", "content", "application/json", "schema"); body != nil {
				d.requireFields(t, body, func(nest func(string) string) []string {
					_, response := call(t, srv, method, target, nest(`{"unknown":1}`))
					return valid(response)
				})
			}
		}
	}
}

func (d controlDocument) requireFields(t *testing.T, schema object, valid func(nest func(string) string) []string) {
	t.Helper()
	properties := d.at(schema, "properties")
	var names []string
	for name := range properties {
		names = append(names, name)
		inner := d.at(properties, name)
		if options, ok := inner["oneOf"].([]any); ok {
			inner = d.at(object{"first": options[0]}, "first")
		}
		if inner["type"] == "object" && inner["additionalProperties"] == false {
			d.requireFields(t, inner, func(nest func(string) string) []string {
				return valid(func(text string) string { return nest(fmt.Sprintf(`{%q:%s}`, name, text)) })
			})
		}
	}
	slices.Sort(names)
	require.Equal(t, names, valid(func(text string) string { return text }))
}

func TestControlDocumentResponses(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: chargetest.VendorQuirks()})
	d := readDocument(t, srv)
	seen := make(map[string]bool) // fields of faults
	check := func(method, target, body string, wantStatus int, headers ...string) {
		t.Helper()
		path, _, _ := strings.Cut(target[1:], "?")
		if strings.HasPrefix(path, "faults/") {
			path = "faults/{id}"
		}
		w := serveControl(t, srv, method, target, body, headers...)
		name := fmt.Sprintf("%s %s: %s", method, target, w.Body)
		require.Equal(t, wantStatus, w.Code, name)
		response := d.at(d.operation(path, method), "responses", fmt.Sprint(w.Code))
		require.NotNil(t, response, name)
		require.Equal(t, response["content"] == nil, w.Body.Len() == 0, name)
		if response["content"] == nil {
			return
		}
		pointer := d.at(response, "content", "application/json")["schema"].(object)["$ref"].(string)
		schema, err := d.schemas.Compile(documentURL + pointer)
		require.NoError(t, err)
		var v any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v))
		require.NoError(t, schema.Validate(v), name)
		if fault, ok := v.(object); ok && strings.HasSuffix(pointer, "/Fault") {
			collect(seen, fault)
		}
	}
	requireStatus(t, 404)(inMemory(srv).charge(t, "order-4242"))
	for _, o := range orders {
		check("POST", "/faults", o.body, 201)
	}
	check("GET", "/state", "", 200)
	check("GET", "/faults", "", 200)
	check("DELETE", "/faults/1", "", 204)
	check("DELETE", "/faults/1", "", 404)
	check("DELETE", "/faults", "", 204)
	check("GET", "/clock", "", 200)
	check("POST", "/clock", `{"advance":"1s"}`, 200)
	check("POST", "/restart", "", 204)
	check("POST", "/events", `{"samples":1}`, 201)
	check("GET", "/events", "", 200)
	check("GET", "/requests", "", 200)
	check("GET", "/wait", "", 200)
	check("GET", "/wait?count=2&timeout=0s", "", 422)
	check("POST", "/assert", `{"count":1}`, 204)
	check("POST", "/assert", `{"count":2}`, 422)
	check("GET", "/profile", "", 200)
	check("PATCH", "/profile", `{"rate_limit":null}`, 200)
	check("GET", "/catalogue", "", 200)
	check("PUT", "/catalogue", `{}`, 200)
	check("POST", "/reset", "", 204)
	for path, methods := range chargetest.ControlOperations(srv) {
		for _, method := range methods {
			target := "/" + strings.ReplaceAll(path, "{id}", "1")
			check(method, target+"?unknown=1", "{}", 400)
			check(method, target, "{}", 401, "X-API-KEY: wrong")
			if d.operation(path, method)["requestBody"] != nil {
				check(method, target, "{}", 415, "Content-Type: text/plain")
				check(method, target, strings.Repeat(" ", 4<<20+1), 413)
			}
		}
	}
	fields := d.fields(d.at(d.root, "components", "schemas", "Fault"))
	slices.Sort(fields)
	require.Equal(t, slices.Compact(fields), slices.Sorted(maps.Keys(seen)))
}

func (d controlDocument) fields(schema object) (names []string) {
	properties := d.at(schema, "properties")
	for name := range properties {
		names = append(append(names, name), d.fields(d.at(properties, name))...)
	}
	return names
}

func collect(names map[string]bool, v object) {
	for name, value := range v {
		names[name] = true
		if inner, ok := value.(object); ok {
			collect(names, inner)
		}
	}
}

package schema_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type operation struct {
	path, method, id  string
	permission        string
	request, response string // components of the bodies, if any
	success           string
	failures          []string
	parameters        []string
}

var (
	common         = []string{"x-platform-id", "X-REQUEST-ID"}
	ingest         = append(slices.Clone(common), "Idempotency-Key", "Content-Encoding")
	readFailures   = []string{"400", "401", "403", "404", "405", "500", "503"}
	ingestFailures = append(slices.Clone(readFailures), "409", "413", "415")
	get            = append(slices.Clone(common), "id")
	list           = append(slices.Clone(common), "reference", "customer_id", "customer_reference",
		"pricing_plan_subscription_id", "pricing_plan_subscription_reference", "product_item_id",
		"from", "to", "limit", "after", "order")
)

var operations = []operation{
	{
		path: "/v1/ingest/charge-data", method: "post", id: "ingestChargeEvent", permission: "METER_DATA.INGEST",
		request: "ChargeEvent", response: "StoredChargeEvent", success: "201", failures: ingestFailures, parameters: ingest,
	},
	{
		path: "/v1/ingest/charge-datas", method: "post", id: "ingestChargeEvents", permission: "METER_DATA.INGEST",
		request: "ChargeEvents", response: "StoredChargeEvents", success: "201", failures: ingestFailures, parameters: ingest,
	},
	{
		path: "/v1/ingest/charge-data/{id}", method: "get", id: "getChargeEvent", permission: "METER_DATA.VIEW",
		response: "StoredChargeEvent", success: "200", failures: readFailures, parameters: get,
	},
	{
		path: "/v1/ingest/charge-data/{id}", method: "head", id: "headChargeEvent", permission: "METER_DATA.VIEW",
		success: "200", failures: readFailures, parameters: get,
	},
	{
		path: "/v1/ingest/charge-data", method: "get", id: "listChargeEvents", permission: "METER_DATA.VIEW",
		response: "ChargeEventList", success: "200", failures: readFailures, parameters: list,
	},
	{
		path: "/v1/ingest/charge-data", method: "head", id: "headChargeEvents", permission: "METER_DATA.VIEW",
		success: "200", failures: readFailures, parameters: list,
	},
}

var codesByStatus = map[string][]string{
	"400": {"MISSING_FIELD", "INVALID_FIELD", "BAD_REQUEST", "UNSUPPORTED_VERSION", "MISSING_VERSION"},
	"401": {"UNAUTHORISED"},
	"403": {"USER_NOT_ALLOWED"},
	"404": {"RESOURCE_NOT_FOUND"},
	"405": {"INVALID_OPERATION"},
	"409": {"RESOURCE_ALREADY_EXISTS", "IDEMPOTENCY_CHECK_FAILED"},
	"413": {"BAD_REQUEST"},
	"415": {"UNSUPPORTED_MEDIA_TYPE"},
	"500": {"INTERNAL_ERROR"},
	"503": {"INTERNAL_ERROR"},
}

// headersByStatus lists headers in addition to X-REQUEST-ID.
var headersByStatus = map[string][]string{
	"201": {"Idempotent-Replayed"},
	"401": {"WWW-Authenticate"},
	"405": {"Allow"},
	"415": {"Accept-Post"},
	"500": {"Idempotency-Retryable"},
	"503": {"Idempotency-Retryable", "Retry-After"},
}

func TestOpenAPIOperations(t *testing.T) {
	doc := document(t)
	require.Equal(t, "3.1.0", doc["openapi"])
	var want, have []string
	for _, op := range operations {
		want = append(want, op.method+" "+op.path)
	}
	for path, item := range doc["paths"].(object) {
		for method := range item.(object) {
			have = append(have, method+" "+path)
		}
	}
	require.ElementsMatch(t, want, have)
	for _, op := range operations {
		node := lookup(t, doc, "#/paths").(object)[op.path].(object)[op.method].(object)
		require.Equal(t, op.id, node["operationId"])
		require.NotEmpty(t, node["summary"], op.id)
		require.Equal(t, []any{map[bool]string{true: "ingest", false: "read"}[op.method == "post"]}, node["tags"], op.id)
		require.Contains(t, node["description"], "`"+op.permission+"`", op.id)
		role := []any{op.permission}
		require.Equal(t, []any{object{"apiKey": role}, object{"bearer": role}}, node["security"], op.id)
		if op.request == "" {
			require.NotContains(t, node, "requestBody", op.id)
		} else {
			require.Equal(t, true, lookup(t, node, "#/requestBody/required"), op.id)
			require.Equal(t, "#/components/schemas/"+op.request,
				lookup(t, node, "#/requestBody/content/application~1json/schema/$ref"), op.id)
		}
	}
}

func TestOpenAPICredentials(t *testing.T) {
	schemes := lookup(t, document(t), "#/components/securitySchemes").(object)
	require.Len(t, schemes, 2)
	key, bearer := schemes["apiKey"].(object), schemes["bearer"].(object)
	require.Equal(t, []any{"apiKey", "header", "X-API-KEY"}, []any{key["type"], key["in"], key["name"]})
	require.Equal(t, []any{"http", "bearer"}, []any{bearer["type"], bearer["scheme"]})
}

func TestOpenAPIParameters(t *testing.T) {
	doc := document(t)
	for _, op := range operations {
		node := lookup(t, doc, "#/paths").(object)[op.path].(object)[op.method].(object)
		var names []string
		for _, v := range node["parameters"].([]any) {
			parameter := resolve(t, doc, v)
			name := parameter["name"].(string)
			names = append(names, name)
			require.NotEmpty(t, parameter["description"], name)
			require.NotEmpty(t, parameter["schema"], name)
			in := "query"
			switch {
			case strings.Contains(op.path, "{"+name+"}"):
				in = "path"
				require.Equal(t, true, parameter["required"], name)
			case slices.Contains(ingest, name):
				in = "header"
			}
			require.Equal(t, in, parameter["in"], name)
		}
		require.ElementsMatch(t, op.parameters, names, op.id)
	}
}

func TestOpenAPIResponses(t *testing.T) {
	doc := document(t)
	shown := make(map[string]map[string]bool) // codes in examples, by status
	for _, op := range operations {
		responses := lookup(t, doc, "#/paths").(object)[op.path].(object)[op.method].(object)["responses"].(object)
		require.ElementsMatch(t, append([]string{op.success}, op.failures...), slices.Collect(maps.Keys(responses)), op.id)
		for status, v := range responses {
			response := resolve(t, doc, v)
			at := op.id + " " + status
			require.NotEmpty(t, response["description"], at)
			want := append([]string{"X-REQUEST-ID"}, headersByStatus[status]...)
			if op.response == "StoredChargeEvents" && status == op.success {
				want = append(want, "Idempotent-Replayed-Count")
			}
			require.ElementsMatch(t, want, slices.Collect(maps.Keys(response["headers"].(object))), at)
			for name, header := range response["headers"].(object) {
				require.NotEmpty(t, resolve(t, doc, header)["description"], name)
			}
			if op.response == "" {
				require.NotContains(t, response, "content", at)
				continue
			}
			body := lookup(t, response, "#/content/application~1json").(object)
			if status == op.success {
				require.Equal(t, "#/components/schemas/"+op.response, lookup(t, body, "#/schema/$ref"), at)
				continue
			}
			require.Equal(t, "#/components/schemas/Error", lookup(t, body, "#/schema/$ref"), at)
			if shown[status] == nil {
				shown[status] = make(map[string]bool)
			}
			for _, example := range body["examples"].(object) {
				checkErrorExample(t, status, resolve(t, doc, example)["value"].(object))
				shown[status][lookup(t, example, "#/value/code").(string)] = true
			}
		}
	}
	every := make(map[string]bool)
	for status, want := range codesByStatus {
		require.ElementsMatch(t, want, slices.Collect(maps.Keys(shown[status])), status)
		for _, code := range want {
			every[code] = true
		}
	}
	have := lookup(t, doc, "#/components/schemas/ErrorCode/enum").([]any)
	require.Len(t, have, len(every))
	for _, code := range have {
		require.True(t, every[code.(string)], code)
	}
}

func checkErrorExample(t *testing.T, status string, example object) {
	t.Helper()
	number, err := strconv.Atoi(status)
	require.NoError(t, err)
	kind := "INVALID_REQUEST"
	if number >= 500 {
		kind = "API_ERROR"
	}
	require.Equal(t, kind, example["type"], status)
	if violations, ok := example["errors"].([]any); ok {
		first := object{"code": example["code"], "field": example["field"], "message": example["message"]}
		require.Equal(t, first, violations[0], "the error is its first violation")
	}
}

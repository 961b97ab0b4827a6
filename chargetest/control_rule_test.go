package chargetest_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

type object = map[string]any

func call(t *testing.T, srv *chargetest.Server, method, path, body string, headers ...string) (int, object) {
	t.Helper()
	w := serveControl(t, srv, method, path, body, headers...)
	var response object
	if w.Body.Len() > 0 {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &response), w.Body)
	}
	return w.Code, response
}

func serveControl(t *testing.T, srv *chargetest.Server, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("X-API-KEY", srv.APIKey())
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	srv.Control().ServeHTTP(w, r)
	return w
}

func mustCall(t *testing.T, srv *chargetest.Server, method, path, body string) object {
	t.Helper()
	status, response := call(t, srv, method, path, body)
	require.Less(t, status, 300, response)
	return response
}

type order struct {
	covers string // exported functions
	body   string
	inject func(*chargetest.Server) *chargetest.Rule
}

func next(n int, f chargetest.Fault, matchers ...chargetest.Matcher) func(*chargetest.Server) *chargetest.Rule {
	return func(s *chargetest.Server) *chargetest.Rule { return s.FailNext(n, f, matchers...) }
}

var orders = []order{
	{"Status Server.FailNext", `{"next":2,"fault":{"type":"status","status":503}}`, next(2, chargetest.Status(503))},
	{
		"Fault.RetryAfter Fault.Code Fault.Message Fault.Field Fault.AfterCommit",
		`{"next":1,"fault":{"type":"status","status":429,"retry_after":"2s","code":"SLOW","message":"m","field":"value","after_commit":true}}`,
		next(1, chargetest.Status(429).RetryAfter(2*time.Second).Code("SLOW").Message("m").Field("value").AfterCommit()),
	},
	{"Fault.RetryAfter", `{"next":1,"fault":{"type":"status","status":503,"retry_after":"0s"}}`, next(1, chargetest.Status(503).RetryAfter(0))},
	{"Reset", `{"next":1,"fault":{"type":"reset","after_commit":false}}`, next(1, chargetest.Reset())},
	{"Reset Fault.AfterCommit", `{"next":1,"fault":{"type":"reset","after_commit":true}}`, next(1, chargetest.Reset().AfterCommit())},
	{"Delay", `{"next":1,"fault":{"type":"delay","delay":"150ms"}}`, next(1, chargetest.Delay(150*time.Millisecond))},
	{"Fault.Delay", `{"next":1,"fault":{"type":"reset","delay":"1m"}}`, next(1, chargetest.Reset().Delay(time.Minute))},
	{"Truncated", `{"next":1,"fault":{"type":"truncated"}}`, next(1, chargetest.Truncated())},
	{"Malformed", `{"next":1,"fault":{"type":"malformed"}}`, next(1, chargetest.Malformed())},
	{"SlowBody", `{"next":1,"fault":{"type":"slow_body","duration":"2s"}}`, next(1, chargetest.SlowBody(2*time.Second))},
	{"StoreError", `{"next":1,"fault":{"type":"store_error","error":"not_stored"}}`, next(1, chargetest.StoreError(chargeingest.ErrNotStored))},
	{"StoreError", `{"next":1,"fault":{"type":"store_error","error":"overloaded"}}`, next(1, chargetest.StoreError(chargeingest.ErrOverloaded))},
	{"StoreError", `{"next":1,"fault":{"type":"store_error","error":"closed"}}`, next(1, chargetest.StoreError(chargeingest.ErrClosed))},
	{
		"StoreError", `{"next":1,"fault":{"type":"store_error","error":"outcome_unknown","after_commit":true}}`,
		next(1, chargetest.StoreError(chargeingest.ErrOutcomeUnknown).AfterCommit()),
	},
	{"Server.FailFor", `{"for":"1h","fault":{"type":"status","status":503}}`, func(s *chargetest.Server) *chargetest.Rule {
		return s.FailFor(time.Hour, chargetest.Status(503))
	}},
	{"Server.FailSometimes", `{"probability":0.5,"seed":3,"fault":{"type":"status","status":500}}`, func(s *chargetest.Server) *chargetest.Rule {
		return s.FailSometimes(0.5, 3, chargetest.Status(500))
	}},
	{"Server.Quota", `{"quota":{"requests":1,"window":"10s"}}`, func(s *chargetest.Server) *chargetest.Rule {
		return s.Quota(1, 10*time.Second)
	}},
	{"Reference", match(`"reference":"b"`), next(9, chargetest.Reset(), chargetest.Reference("b"))},
	{"Customer", match(`"customer":"customer-sample"`), next(9, chargetest.Reset(), chargetest.Customer("customer-sample"))},
	{"Credential", match(`"credential":"chargetest-api-key"`), next(9, chargetest.Reset(), chargetest.Credential("chargetest-api-key"))},
	{"Route", match(`"route":"charge-data list"`), next(9, chargetest.Reset(), chargetest.Route(chargeingest.RouteList))},
	{
		"Nth", `{"next":1,"fault":{"type":"reset"},"match":{"reference":"b","nth":2}}`,
		next(1, chargetest.Reset(), chargetest.Reference("b"), chargetest.Nth(2)),
	},
	{"RequestWhere EventWhere", match(`"method":"GET"`), nextWhere(func(r chargetest.Request) bool { return r.Method == http.MethodGet })},
	{"RequestWhere EventWhere", match(`"path":"/v1/ingest/charge-data"`), nextWhere(func(r chargetest.Request) bool { return !strings.Contains(r.RequestURI, "chda") })},
	{"RequestWhere EventWhere", match(`"body":"\"b\""`), nextWhere(func(r chargetest.Request) bool { return strings.Contains(string(r.Body), `"b"`) })},
}

func match(fields string) string {
	return `{"next":9,"fault":{"type":"reset"},"match":{` + fields + `}}`
}

func nextWhere(predicate func(chargetest.Request) bool) func(*chargetest.Server) *chargetest.Rule {
	return next(9, chargetest.Reset(), chargetest.RequestWhere(predicate))
}

func TestControlFaultsEqualGo(t *testing.T) {
	for _, o := range orders {
		t.Run(o.body, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ordered, injected := chargetest.New(t), chargetest.New(t)
				fault := mustCall(t, ordered, http.MethodPost, "/faults", o.body)
				rule := o.inject(injected)
				if !strings.HasPrefix(o.covers, "RequestWhere") {
					require.Equal(t, rule.String(), fault["description"])
				}
				require.Equal(t, outcomes(t, injected), outcomes(t, ordered))
				require.NotZero(t, rule.Hits(), "the requests meet the fault")
			})
		})
	}
}

func outcomes(t *testing.T, srv *chargetest.Server) (list []string) {
	sender := inMemory(srv)
	start := time.Now()
	charge := func(reference string) func() (response, error) {
		return func() (response, error) { return sender.charge(t, reference) }
	}
	get := func(suffix string) func() (response, error) {
		return func() (response, error) { return sender.do(t.Context(), http.MethodGet, eventPath+suffix, nil) }
	}
	for _, send := range []func() (response, error){charge("a"), charge("b"), charge("b"), charge("c"), get("?limit=2"), get("/chda_1")} {
		res, err := send()
		if err != nil {
			list = append(list, err.Error())
			continue
		}
		list = append(list, fmt.Sprint(res.StatusCode, res.text, res.Header.Get("Retry-After"), time.Since(start)))
	}
	return append(list, fmt.Sprint(srv.Events()))
}

func TestControlFaultsAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	results := []string{"Fault", "Rule", "Matcher", "EventMatcher"}
	covered := make(map[string]bool)
	for _, o := range orders {
		for _, name := range strings.Fields(o.covers) {
			covered[name] = true
		}
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Type.Results == nil || !slices.Contains(results, typeName(f.Type.Results.List[0].Type)) {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				name = typeName(f.Recv.List[0].Type) + "." + name
			}
			require.True(t, covered[name], name)
			found++
		}
	}
	require.Equal(t, len(covered), found)
}

func typeName(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if name, ok := e.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

func TestControlRejectsFault(t *testing.T) {
	const tail = `,"fault":{"type":"reset"}}`
	for body, want := range map[string]string{
		`{}`:                                                "next is required, or one of for, probability and quota",
		`{"next":1}`:                                        "fault is required",
		`{"next":0` + tail:                                  "next must be a whole number of 1 or more",
		`{"next":"1"` + tail:                                "next must be a whole number",
		`{"next":1.5` + tail:                                "next must be a whole number",
		`{"next":null` + tail:                               "next must be a whole number",
		`{"next":1,"for":"1s"` + tail:                       "for does not apply together with next",
		`{"for":"-1s"` + tail:                               "for must be a duration of more than 0, such as",
		`{"for":5` + tail:                                   "for must be a duration",
		`{"for":"5"` + tail:                                 "for must be a duration",
		`{"probability":1.5` + tail:                         "probability must be a number from 0 to 1",
		`{"probability":"NaN"` + tail:                       "probability must be a number",
		`{"next":1,"seed":1` + tail:                         "seed applies to probability only",
		`{"probability":1,"seed":-1` + tail:                 "seed must be a whole number",
		`{"quota":{"requests":1,"window":"1s"}` + tail:      "fault does not apply to quota",
		`{"quota":{"requests":1}}`:                          "quota.window is required",
		`{"quota":{"requests":1,"window":"1s","x":1}}`:      "quota.x is unknown: valid here are requests, window",
		`{"quota":[]}`:                                      "quota must be an object",
		`{"next":1,"x":1` + tail:                            "x is unknown: valid here are fault, for, match, next, probability, quota, seed",
		`{"next":1,"fault":null}`:                           "fault must be an object",
		`{"next":1,"fault":{}}`:                             "fault.type is required",
		`{"next":1,"fault":{"type":"crash"}}`:               "fault.type must be one of status, reset, delay, truncated, malformed, slow_body, store_error",
		`{"next":1,"fault":{"type":"status"}}`:              "fault.status is required",
		`{"next":1,"fault":{"type":"status","status":399}}`: "fault.status must be a whole number from 400 to 599",
		`{"next":1,"fault":{"type":"status","status":500,"retry_after":"-1s"}}`:              "fault.retry_after must be a duration of 0 or more",
		`{"next":1,"fault":{"type":"status","status":500,"message":1}}`:                      "fault.message must be a string",
		`{"next":1,"fault":{"type":"status","status":500,"duration":"1s"}}`:                  "fault.duration does not apply to the type status",
		`{"next":1,"fault":{"type":"reset","code":"X"}}`:                                     "fault.code does not apply to the type reset",
		`{"next":1,"fault":{"type":"reset","after_commit":1}}`:                               "fault.after_commit must be true or false",
		`{"next":1,"fault":{"type":"truncated","after_commit":true}}`:                        "fault.after_commit does not apply to the type truncated",
		`{"next":1,"fault":{"type":"delay"}}`:                                                "fault.delay is required",
		`{"next":1,"fault":{"type":"slow_body"}}`:                                            "fault.duration is required",
		`{"next":1,"fault":{"type":"store_error"}}`:                                          "fault.error is required",
		`{"next":1,"fault":{"type":"store_error","error":"lost"}}`:                           "fault.error must be one of not_stored, outcome_unknown, overloaded, closed",
		`{"next":1,"fault":{"type":"store_error","error":"overloaded","after_commit":true}}`: "fault.after_commit applies to the error outcome_unknown only",
		`{"next":2,"match":{"nth":2}` + tail:                                                 "match.nth needs next to be 1",
		`{"next":1,"match":{"nth":0}` + tail:                                                 "match.nth must be a whole number of 1 or more",
		`{"next":1,"match":{"route":"charge"}` + tail:                                        "match.route must be one of charge-data, charge-datas, charge-data/{id}, charge-data list",
		`{"next":1,"match":{"event":"x"}` + tail:                                             "match.event is unknown: valid here are body, credential, customer",
	} {
		t.Run(body, func(t *testing.T) {
			srv := chargetest.New(t)
			status, response := call(t, srv, http.MethodPost, "/faults", body)
			require.Equal(t, 400, status, response)
			require.Contains(t, response["message"], want)
			field, _, _ := strings.Cut(want, " ")
			require.Equal(t, field, response["field"])
			require.Equal(t, field, response["errors"].([]any)[0].(object)["field"])
			require.Empty(t, mustCall(t, srv, http.MethodGet, "/faults", "")["faults"])
		})
	}
}

func TestControlFaultLifecycle(t *testing.T) {
	srv := chargetest.New(t)
	sender := inMemory(srv)
	list := func() (faults []object) {
		for _, f := range mustCall(t, srv, http.MethodGet, "/faults", "")["faults"].([]any) {
			faults = append(faults, f.(object))
		}
		return faults
	}
	mustCall(t, srv, http.MethodPost, "/faults", `{"next":2,"fault":{"type":"status","status":500},"match":{"credential":"`+srv.APIKey()+`"}}`)
	mustCall(t, srv, http.MethodPost, "/faults", `{"for":"1h","fault":{"type":"status","status":503}}`)
	srv.FailNext(1, chargetest.Reset())
	requireStatus(t, 500)(sender.charge(t, "a"))
	faults := list()
	require.Equal(t, []any{1.0, 1.0, 1.0, 2.0}, []any{faults[0]["id"], faults[0]["hits"], faults[0]["left"], faults[0]["next"]})
	require.Equal(t, object{"credential": "•••"}, faults[0]["match"])
	require.Equal(t, "2026-01-01T01:00:00Z", faults[1]["until"])
	require.Equal(t, object{"id": 3.0, "hits": 0.0, "left": 1.0, "description": "FailNext(1, Reset())"}, faults[2])

	requireStatus(t, 500)(sender.charge(t, "a"))
	require.Len(t, list(), 2, "a fault that is used up is not listed")
	require.Equal(t, 404, first(call(t, srv, http.MethodDelete, "/faults/1", "")))
	require.Equal(t, 204, first(call(t, srv, http.MethodDelete, "/faults/3", "")))
	requireStatus(t, 503)(sender.charge(t, "a"))
	mustCall(t, srv, http.MethodPost, "/clock", `{"advance":"1h"}`)
	require.Empty(t, list(), "a fault that is over is not listed")
	srv.FailNext(1, chargetest.Reset())
	require.Equal(t, 204, first(call(t, srv, http.MethodDelete, "/faults", "")))
	requireStatus(t, 201)(sender.charge(t, "a"))
}

func first(status int, _ object) int { return status }

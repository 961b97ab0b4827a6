package chargetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"example.com/chargeingest"
)

func hintFor(r *Request, e errorBody) string {
	switch r.Code {
	case chargeingest.CodeResourceNotFound:
		if r.Route == "" {
			return pathHint(r.RequestURI)
		}
	case chargeingest.CodeMissingVersion, chargeingest.CodeUnsupportedVersion:
		return "paths start with /v1/ingest/"
	case chargeingest.CodeUnauthorised:
		return "valid keys are that of the server (in Go, Server.APIKey) and Options.Keys"
	}
	for _, violation := range e.Errors {
		if violation.Field == "charge_datas" && r.Route == chargeingest.RouteSingle {
			return "batches are sent to /v1/ingest/charge-datas"
		}
		if violation.Field == "charge_datas" && violation.Code == string(chargeingest.CodeMissingField) {
			return "single events are sent to /v1/ingest/charge-data"
		}
		if hint := fieldHint(violation.Field); hint != "" {
			return hint
		}
	}
	return ""
}

func pathHint(requestURI string) string {
	path, _, _ := strings.Cut(requestURI, "?")
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	const single, batch, maxDistance = "/v1/ingest/charge-data", "/v1/ingest/charge-datas", 7
	trimmed := strings.TrimRight(path, "/")
	nearest, least := "", maxDistance
	for _, endpoint := range []string{single, batch} {
		switch prefix, found := strings.CutSuffix(trimmed, endpoint); {
		case found && prefix == "":
			return "the path has an extra slash at its end"
		case found:
			return "the server is not mounted under the prefix " + prefix
		case strings.HasSuffix(endpoint, trimmed) && trimmed != "":
			nearest, least = endpoint, 0
		case strings.TrimPrefix(trimmed, "/v1") == strings.TrimPrefix(endpoint, "/v1/ingest"):
			nearest, least = endpoint, 0
		case distance(trimmed, endpoint) < least:
			nearest, least = endpoint, distance(trimmed, endpoint)
		}
	}
	if nearest == "" {
		return ""
	}
	return "did you mean " + nearest + "?"
}

func fieldHint(path string) string {
	parent, name := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent, name = path[:i+1], path[i+1:]
	}
	names := fieldNames()
	if slices.Contains(names, name) {
		return ""
	}
	for _, known := range names {
		if similar(name, known) {
			return path + ": did you mean " + parent + known + "?"
		}
	}
	return ""
}

func fieldNames() []string {
	empty, list := "", []chargeingest.SelectorEntry{}
	text, err := chargeingest.ChargeEvent{
		PricingPlanSubscriptionSelector: &chargeingest.Selector{Data: list, Rules: list, Filters: list, Fallback: &empty},
		Value:                           &chargeingest.Value{Number: &empty, Count: &empty, Amount: &chargeingest.Amount{}},
		Period:                          &chargeingest.Period{StartAt: &empty, EndAt: &empty, Ratio: &empty},
	}.MarshalJSON()
	var tree map[string]any
	if err != nil || json.Unmarshal(text, &tree) != nil {
		return nil
	}
	var names []string
	var walk func(map[string]any)
	walk = func(object map[string]any) {
		for name, value := range object {
			names = append(names, name)
			if inner, ok := value.(map[string]any); ok {
				walk(inner)
			}
		}
	}
	walk(tree)
	slices.Sort(names)
	return names
}

func (s *Server) missingHints(m EventMatcher) []string {
	var hints []string
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost && m.matchesRequest(&r) {
			hints = append(hints, "it was sent in "+r.String())
		}
	}
	stored := new(search)
	if ref, ok := m.(referenceMatcher); ok && s.refresh(stored) == nil {
		for _, e := range stored.found {
			if e.Reference != nil && similar(*e.Reference, ref.reference) {
				hints = append(hints, "a similar reference is stored: "+e.String())
			}
		}
	}
	return hints
}

func similar(a, b string) bool {
	joined := func(s string) string { return strings.ReplaceAll(s, "_", "") }
	return a != b && (strings.EqualFold(joined(a), joined(b)) || distance(a, b) <= max(1, min(len(a), len(b))/4))
}

func distance(a, b string) int {
	const maxLength = 256
	if len(a) > maxLength || len(b) > maxLength {
		return maxLength
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, diagonal+1, change)
		}
	}
	return row[len(b)]
}

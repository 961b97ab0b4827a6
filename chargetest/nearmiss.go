package chargetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// nearMiss guesses what a rejected request may have meant.
func nearMiss(r *Request, e errorBody) string {
	switch r.Code {
	case chargeingest.CodeResourceNotFound:
		if r.Route == "" {
			return nearPath(r.Path)
		}
	case chargeingest.CodeMissingVersion, chargeingest.CodeUnsupportedVersion:
		return "the paths start with /v1/ingest/"
	case chargeingest.CodeUnauthorised:
		return "the keys are Server.APIKey and those of Options.Keys"
	}
	for _, violation := range e.Errors {
		if near := nearField(violation.Field); near != "" {
			return near
		}
	}
	return ""
}

// nearPath is for a path that leads nowhere.
func nearPath(target string) string {
	path, _, _ := strings.Cut(target, "?")
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	const single, batch, far = "/v1/ingest/charge-data", "/v1/ingest/charge-datas", 7
	trimmed := strings.TrimRight(path, "/")
	nearest, least := "", far
	for _, endpoint := range []string{single, batch} {
		switch prefix, found := strings.CutSuffix(trimmed, endpoint); {
		case found && prefix == "":
			return "the path has a slash too many at its end"
		case found:
			return "the path has a prefix, " + prefix + ", that the server is not mounted under"
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

// nearField is for a field that may be one that the contract does not name.
func nearField(path string) string {
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

// fieldNames are those of the contract.
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

// nearMisses explains why nothing that a matcher selects is stored.
func (s *Server) nearMisses(m EventMatcher) []string {
	var found []string
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost && m.matchesRequest(&r) {
			found = append(found, "it was sent by "+r.String())
		}
	}
	stored := new(search)
	if ref, ok := m.(referenceMatcher); ok && s.update(stored) == nil {
		for _, e := range stored.found {
			if e.Reference != nil && similar(*e.Reference, ref.reference) {
				found = append(found, "a similar one is stored: "+e.String())
			}
		}
	}
	return found
}

// similar says that two texts differ by little: camel case, which is what an
// untagged field of a struct makes, among it.
func similar(a, b string) bool {
	return a != b && strings.EqualFold(strings.ReplaceAll(a, "_", ""), strings.ReplaceAll(b, "_", "")) || a != b && (strings.EqualFold(a, b) || distance(a, b) <= max(1, min(len(a), len(b))/4))
}

// distance is how many bytes must be put in, taken out or changed to make one
// text the other (Levenshtein). Long texts count as far apart.
func distance(a, b string) int {
	const long = 256
	if len(a) > long || len(b) > long {
		return long
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

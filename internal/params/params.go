// Package params parses the parameters of listings.
package params

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/chargeingest/internal/limits"
)

// Parameter is a valid parameter.
type Parameter[Q any] struct {
	name, valid string
	Parse       func(q *Q, value string) bool // false if the value is invalid
}

// New returns a parameter. Messages contain the valid form.
func New[Q any](name, valid string, parse func(q *Q, value string) bool) Parameter[Q] {
	return Parameter[Q]{name, valid, parse}
}

// Problem follows the name in messages.
type Problem struct{ Name, Problem string }

const malformed = " must be percent-encoded UTF-8"

// Parse reports each malformed, repeated or unknown parameter once, unknown ones last.
func Parse[Q any](raw string, q *Q, known []Parameter[Q]) []Problem {
	given := split(raw)
	var problems []Problem
	reject := func(name, problem string) { problems = append(problems, Problem{name, problem}) }
	for _, p := range known {
		switch values, ok := given[p.name]; {
		case !ok:
		case values == nil:
			reject(p.name, malformed)
		case len(values) > 1:
			reject(p.name, " must be given once")
		case !p.Parse(q, values[0]):
			reject(p.name, " must be "+p.valid)
		}
		delete(given, p.name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] == nil {
			reject(name, malformed)
		} else {
			reject(name, " is not a parameter of the listing")
		}
	}
	return problems
}

// split returns malformed parameters with nil values, unlike url.ParseQuery, under the
// names that responses show.
func split(raw string) map[string][]string {
	given := make(map[string][]string)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		decodedName, errName := url.QueryUnescape(name)
		decodedValue, errValue := url.QueryUnescape(value)
		if errName == nil {
			name = decodedName
		}
		valid := errName == nil && errValue == nil && utf8.ValidString(name) && utf8.ValidString(decodedValue)
		name = limits.Shorten(strings.ToValidUTF8(name, "\ufffd"))
		earlier, again := given[name]
		switch {
		case !valid:
			given[name] = nil
		case !again || earlier != nil:
			given[name] = append(earlier, decodedValue)
		}
	}
	return given
}

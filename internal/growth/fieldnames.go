package growth

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// fieldGenerator returns n bytes of unknown fields. Variants differ only in values.
type fieldGenerator func(n, variant int) string

func fieldCases(name string, status int, allConflicts bool, unknown fieldGenerator) []Case {
	cases := []Case{
		{name + "/rejected", caseSize, func(n int) attack {
			return attack{calls: []call{post(singlePath, event(unknown(n, 0)), http.StatusBadRequest)}}
		}},
		{name + "/kept", caseSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{post(singlePath, event(unknown(n, 0)), status)}}
		}},
		{name + "/kept, another field invalid", caseSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{
				post(singlePath, event(unknown(n, 0), `"reference":"not a reference"`), http.StatusBadRequest),
			}}
		}},
	}
	if status != http.StatusCreated {
		return cases
	}
	conflict := func(target string, wrap func(...string) string, first, second func(n int) string, headers ...string) func(n int) attack {
		return func(n int) attack {
			return attack{
				configure: keepOnly,
				setup:     []call{post(target, wrap(first(n)), http.StatusCreated, headers...)},
				calls:     []call{post(target, wrap(second(n)), http.StatusConflict, headers...)},
			}
		}
	}
	withFields := func(reference string, variant int) func(n int) string {
		return func(n int) string { return event(unknown(n, variant), reference) }
	}
	withoutFields := func(reference string) func(n int) string { return func(int) string { return event(reference) } }
	unwrapped := func(events ...string) string { return events[0] }
	const reference, none = `"reference":"r"`, `"reference":null`
	cases = append(cases,
		Case{name + "/reference conflict", caseSize, conflict(singlePath, unwrapped, withFields(reference, 0), withFields(reference, 1))},
		Case{name + "/key conflict", caseSize, conflict(singlePath, unwrapped, withFields(none, 0), withFields(none, 1), "Idempotency-Key", "k")},
	)
	if !allConflicts {
		return cases
	}
	return append(cases,
		Case{name + "/in a batch", caseSize, func(n int) attack {
			valid := event(`"description":"d"`)
			return attack{calls: []call{post(batchPath, batch(valid, event(unknown(n, 0)), valid), http.StatusBadRequest)}}
		}},
		Case{name + "/conflict, stored without the fields", caseSize, conflict(singlePath, unwrapped, withoutFields(reference), withFields(reference, 1))},
		Case{name + "/conflict, sent without the fields", caseSize, conflict(singlePath, unwrapped, withFields(reference, 1), withoutFields(reference))},
		Case{name + "/conflict in a batch", caseSize, conflict(batchPath, batch, withFields(reference, 0), withFields(reference, 1))},
		Case{name + "/key conflict in a batch", caseSize, conflict(batchPath, batch, withFields(none, 0), withFields(none, 1), "Idempotency-Key", "k")},
		Case{name + "/conflict within a batch", caseSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{
				post(batchPath, batch(withFields(reference, 0)(n/2), withFields(reference, 1)(n/2)), http.StatusConflict),
			}}
		}},
	)
}

func variantNumber(variant int) string { return strconv.Itoa(variant) }

func nameCases() []Case {
	short := func(i int) string { return fmt.Sprintf("x%07d", i) }
	numbered := func(name func(i int) string) fieldGenerator {
		return func(n, variant int) string {
			return fill(n, func(i int) string { return quote(name(i)) + ":" + variantNumber(variant) })
		}
	}
	all := []struct {
		name    string
		status  int
		all     bool
		members fieldGenerator
	}{
		{"short names", http.StatusCreated, true, numbered(short)},
		{"names in descending order", http.StatusCreated, false, numbered(func(i int) string { return short(1e7 - 1 - i) })},
		{"99 names, one with dots, and more", http.StatusCreated, true, func(n, variant int) string {
			value := ":" + variantNumber(variant)
			list := make([]string, 0, 101)
			for i := range 99 {
				list = append(list, quote(fmt.Sprintf("a%02d", i))+value)
			}
			list = append(list, quote("b"+strings.Repeat(".", n/2))+value)
			return strings.Join(list, ",") + "," + numbered(func(i int) string { return "c" + short(i) })(n/2, variant)
		}},
		{"100 names of many dots, and more", http.StatusCreated, true, func(n, variant int) string {
			dotted := strings.Repeat(".", n/200)
			return fill(n/2, func(i int) string { return quote(dotted+short(i)) + ":" + variantNumber(variant) }) +
				"," + numbered(func(i int) string { return short(1e7 - 1 - i) })(n/2, variant)
		}},
		{"names of a few dots each", http.StatusCreated, false, numbered(func(i int) string { return short(i) + strings.Repeat(".", 40) })},
		{"one name of many dots", http.StatusCreated, false, func(n, variant int) string { return quote(strings.Repeat(".", n)) + ":" + variantNumber(variant) }},
		{"names that are numbers", http.StatusCreated, false, numbered(func(i int) string { return "7.1." + strconv.Itoa(i) })},
		{"a long name that is a number", http.StatusCreated, false, func(n, variant int) string {
			return quote(strings.Repeat("9", n/2)) + ":" + variantNumber(variant) + "," + numbered(strconv.Itoa)(n/2, variant)
		}},
		{"names of 1,000 characters", http.StatusCreated, false, numbered(func(i int) string { return strings.Repeat("y", 1000) + short(i) })},
		{"a name with many nested fields", http.StatusCreated, true, func(n, variant int) string {
			return quote(strings.Repeat("l", n/2)) + ":{" + numbered(short)(n/2, variant) + "}"
		}},
		{"a name with many entries", http.StatusCreated, true, func(n, variant int) string {
			return quote(strings.Repeat("l", n/2)) + ":[" + fill(n/2, func(int) string { return variantNumber(variant) }) + "]"
		}},
		{"28 long names around many fields", http.StatusCreated, true, func(n, variant int) string {
			open := quote(strings.Repeat("l", n/56)) + ":{"
			return strings.Repeat(open, 28) + numbered(short)(n/2, variant) + strings.Repeat("}", 28)
		}},
		{"names of escapes", http.StatusCreated, false, numbered(func(i int) string { return `\u0000\u00e9\ud83d\ude00` + short(i) })},
		{"a long name of escapes", http.StatusCreated, false, func(n, variant int) string {
			return quote(repeat(`\ud83d\ude00`, n)) + ":" + variantNumber(variant)
		}},
		{"a long name of control characters", http.StatusCreated, false, func(n, variant int) string {
			return quote(repeat(`\u0001`, n)) + ":" + variantNumber(variant)
		}},
		{"a repeated name", http.StatusBadRequest, false, func(n, variant int) string {
			return numbered(short)(n, variant) + `,"` + short(0) + `":1`
		}},
		{"known names in an unknown field", http.StatusCreated, false, func(n, variant int) string {
			return `"x":[` + fill(n, func(int) string { return event(`"value":{"number":"` + variantNumber(variant) + `"}`) }) + "]"
		}},
		{"unknown names in value", http.StatusCreated, false, func(n, variant int) string {
			return `"value":{"amount":{"quantity":"1","currency":"EUR",` + numbered(short)(n/2, variant) + "}," + numbered(short)(n/2, variant) + "}"
		}},
		{"unknown names in a selector", http.StatusCreated, true, func(n, variant int) string {
			entry := func(int) string {
				return `{"field":"PRICING_PLAN_REFERENCE",` + numbered(short)(n/8, variant) + "}"
			}
			return `"pricing_plan_subscription_selector":{"data":[` + fill(n*3/4, entry) + `]}`
		}},
	}
	var cases []Case
	for _, c := range all {
		cases = append(cases, fieldCases(c.name, c.status, c.all, c.members)...)
	}
	return cases
}

package growth

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// members makes n bytes of members that the contract does not name. Those of
// different variants have the same names and different values.
type members func(n, variant int) string

// outcomes makes a case of each response that an event with unknown members can
// get. status is the one with KeepUnknownFields if nothing else is wrong. all asks
// for every kind of conflict.
func outcomes(name string, status int, all bool, unknown members) []Case {
	cases := []Case{
		{name + "/refused", size, func(n int) attack {
			return attack{calls: []call{post(single, event(unknown(n, 0)), http.StatusBadRequest)}}
		}},
		{name + "/kept", size, func(n int) attack {
			return attack{configure: keeping, calls: []call{post(single, event(unknown(n, 0)), status)}}
		}},
		{name + "/kept, another field wrong", size, func(n int) attack {
			return attack{configure: keeping, calls: []call{
				post(single, event(unknown(n, 0), `"reference":"not a reference"`), http.StatusBadRequest),
			}}
		}},
	}
	if status != http.StatusCreated {
		return cases
	}
	// Sent twice, the second time with other values.
	conflict := func(target string, wrap func(...string) string, first, second func(n int) string, headers ...string) func(n int) attack {
		return func(n int) attack {
			return attack{
				configure: keeping,
				before:    []call{post(target, wrap(first(n)), http.StatusCreated, headers...)},
				calls:     []call{post(target, wrap(second(n)), http.StatusConflict, headers...)},
			}
		}
	}
	plain := func(reference string, variant int) func(n int) string {
		return func(n int) string { return event(unknown(n, variant), reference) }
	}
	bare := func(reference string) func(n int) string { return func(int) string { return event(reference) } }
	itself := func(events ...string) string { return events[0] }
	const reference, none = `"reference":"r"`, `"reference":null`
	cases = append(cases,
		Case{name + "/conflict of a reference", size, conflict(single, itself, plain(reference, 0), plain(reference, 1))},
		Case{name + "/conflict of a key", size, conflict(single, itself, plain(none, 0), plain(none, 1), "Idempotency-Key", "k")},
	)
	if !all {
		return cases
	}
	return append(cases,
		Case{name + "/in a batch", size, func(n int) attack {
			good := event(`"description":"d"`)
			return attack{calls: []call{post(batched, batch(good, event(unknown(n, 0)), good), http.StatusBadRequest)}}
		}},
		Case{name + "/conflict with a bare event", size, conflict(single, itself, bare(reference), plain(reference, 1))},
		Case{name + "/conflict by a bare event", size, conflict(single, itself, plain(reference, 1), bare(reference))},
		Case{name + "/conflict in a batch", size, conflict(batched, batch, plain(reference, 0), plain(reference, 1))},
		Case{name + "/conflict of a batch's key", size, conflict(batched, batch, plain(none, 0), plain(none, 1), "Idempotency-Key", "k")},
		Case{name + "/conflict within a batch", size, func(n int) attack {
			return attack{configure: keeping, calls: []call{
				post(batched, batch(plain(reference, 0)(n/2), plain(reference, 1)(n/2)), http.StatusConflict),
			}}
		}},
	)
}

// variantValue is a value that differs between the variants.
func variantValue(variant int) string { return strconv.Itoa(variant) }

func nameCases() []Case {
	short := func(i int) string { return fmt.Sprintf("x%07d", i) }
	numbered := func(name func(i int) string) members {
		return func(n, variant int) string {
			return fill(n, func(i int) string { return quote(name(i)) + ":" + variantValue(variant) })
		}
	}
	all := []struct {
		name    string
		status  int
		all     bool
		members members
	}{
		{"short names", http.StatusCreated, true, numbered(short)},
		{"names in descending order", http.StatusCreated, false, numbered(func(i int) string { return short(1e7 - 1 - i) })},
		{"99 names, one with dots, and more", http.StatusCreated, true, func(n, variant int) string {
			value := ":" + variantValue(variant)
			list := make([]string, 0, 101)
			for i := range 99 {
				list = append(list, quote(fmt.Sprintf("a%02d", i))+value)
			}
			list = append(list, quote("b"+strings.Repeat(".", n/2))+value)
			return strings.Join(list, ",") + "," + numbered(func(i int) string { return "c" + short(i) })(n/2, variant)
		}},
		{"100 names of many dots, and more", http.StatusCreated, true, func(n, variant int) string {
			dotted := strings.Repeat(".", n/200)
			return fill(n/2, func(i int) string { return quote(dotted+short(i)) + ":" + variantValue(variant) }) +
				"," + numbered(func(i int) string { return short(1e7 - 1 - i) })(n/2, variant)
		}},
		{"names of a few dots each", http.StatusCreated, false, numbered(func(i int) string { return short(i) + strings.Repeat(".", 40) })},
		{"one name of many dots", http.StatusCreated, false, func(n, variant int) string { return quote(strings.Repeat(".", n)) + ":" + variantValue(variant) }},
		{"names that are numbers", http.StatusCreated, false, numbered(func(i int) string { return "7.1." + strconv.Itoa(i) })},
		{"a long name that is a number", http.StatusCreated, false, func(n, variant int) string {
			return quote(strings.Repeat("9", n/2)) + ":" + variantValue(variant) + "," + numbered(strconv.Itoa)(n/2, variant)
		}},
		{"names of 1,000 characters", http.StatusCreated, false, numbered(func(i int) string { return strings.Repeat("y", 1000) + short(i) })},
		{"a name that holds many members", http.StatusCreated, true, func(n, variant int) string {
			return quote(strings.Repeat("l", n/2)) + ":{" + numbered(short)(n/2, variant) + "}"
		}},
		{"a name that holds many entries", http.StatusCreated, true, func(n, variant int) string {
			return quote(strings.Repeat("l", n/2)) + ":[" + fill(n/2, func(int) string { return variantValue(variant) }) + "]"
		}},
		{"28 long names around many members", http.StatusCreated, true, func(n, variant int) string {
			open := quote(strings.Repeat("l", n/56)) + ":{"
			return strings.Repeat(open, 28) + numbered(short)(n/2, variant) + strings.Repeat("}", 28)
		}},
		{"names of escapes", http.StatusCreated, false, numbered(func(i int) string { return `\u0000\u00e9\ud83d\ude00` + short(i) })},
		{"a long name of escapes", http.StatusCreated, false, func(n, variant int) string {
			return quote(repeat(`\ud83d\ude00`, n)) + ":" + variantValue(variant)
		}},
		{"a long name of control characters", http.StatusCreated, false, func(n, variant int) string {
			return quote(repeat(`\u0001`, n)) + ":" + variantValue(variant)
		}},
		{"a name that is there twice", http.StatusBadRequest, false, func(n, variant int) string {
			return numbered(short)(n, variant) + `,"` + short(0) + `":1`
		}},
		{"members of the contract's names in an unknown one", http.StatusCreated, false, func(n, variant int) string {
			return `"x":[` + fill(n, func(int) string { return event(`"value":{"number":"` + variantValue(variant) + `"}`) }) + "]"
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
		cases = append(cases, outcomes(c.name, c.status, c.all, c.members)...)
	}
	return cases
}

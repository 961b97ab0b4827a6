package growth

import (
	"fmt"
	"net/http"
	"strings"

	"example.com/chargeingest"
)

var keepOnly = []func(*chargeingest.Config){keepUnknown}

func nested(open, inner, closing string, levels int) string {
	return strings.Repeat(open, levels) + inner + strings.Repeat(closing, levels)
}

func nestingCases() []Case {
	variants := func(name string, status int, value func(n int) string) []Case {
		return []Case{
			{name + "/unknown, rejected", caseSize, func(n int) attack {
				return attack{calls: []call{post(singlePath, event(`"x":`+value(n)), http.StatusBadRequest)}}
			}},
			{name + "/unknown, kept", caseSize, func(n int) attack {
				return attack{configure: keepOnly, calls: []call{post(singlePath, event(`"x":`+value(n)), status)}}
			}},
			{name + "/read-only", caseSize, func(n int) attack {
				return attack{calls: []call{post(singlePath, event(`"id":`+value(n)), status)}}
			}},
			{name + "/in place of a string", caseSize, func(n int) attack {
				return attack{calls: []call{post(singlePath, event(`"description":`+value(n)), http.StatusBadRequest)}}
			}},
			{name + "/in place of an object", caseSize, func(n int) attack {
				return attack{calls: []call{post(singlePath, event(`"value":`+value(n)), http.StatusBadRequest)}}
			}},
			{name + "/in place of the body", caseSize, func(n int) attack {
				return attack{calls: []call{post(singlePath, value(n), http.StatusBadRequest)}}
			}},
			{name + "/in place of the events", caseSize, func(n int) attack {
				return attack{calls: []call{post(batchPath, `{"charge_datas":`+value(n)+"}", http.StatusBadRequest)}}
			}},
		}
	}
	var cases []Case
	for _, c := range []struct {
		name   string
		status int
		value  func(n int) string
	}{
		{"deep lists", http.StatusBadRequest, func(n int) string { return nested("[", "", "]", n/2) }},
		{"deep objects", http.StatusBadRequest, func(n int) string { return nested(`{"a":`, "1", "}", n/6) }},
		{"unclosed deep lists", http.StatusBadRequest, func(n int) string { return strings.Repeat("[", n) }},
		{"many values of 20 levels", http.StatusCreated, func(n int) string {
			return "[" + fill(n, func(int) string { return nested(`{"a":[`, "1", "]}", 10) }) + "]"
		}},
		{"999 levels around many values", http.StatusBadRequest, func(n int) string {
			return nested(`[`, fill(n, func(int) string { return "{}" }), "]", 900)
		}},
	} {
		cases = append(cases, variants(c.name, c.status, c.value)...)
	}
	return cases
}

func valueCases() []Case {
	caseOf := func(name string, status int, fields func(n int) string) Case {
		return Case{name, caseSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{post(singlePath, event(fields(n)), status)}}
		}}
	}
	wrongValue := func(name, field string, value func(n int) string) Case {
		return caseOf(name+"/"+field, http.StatusBadRequest, func(n int) string {
			parent, child, found := strings.Cut(field, ".")
			if !found {
				return quote(field) + ":" + value(n)
			}
			return quote(parent) + ":{" + quote(child) + ":" + value(n) + "}"
		})
	}
	digits := func(n int) string { return strings.Repeat("7", n) }
	cases := []Case{
		caseOf("many numbers/kept", http.StatusCreated, func(n int) string {
			return `"x":[` + fill(n, func(i int) string { return fmt.Sprintf("-%d.5e+12", i) }) + "]"
		}),
		caseOf("many strings of escapes/kept", http.StatusCreated, func(n int) string {
			return `"x":[` + fill(n, func(int) string { return `"\u0000\"\\\ud83d\ude00\/"` }) + "]"
		}),
		caseOf("escapes in every field/stored", http.StatusCreated, func(n int) string {
			id := quote(strings.Repeat(`\u00e9`, 256))
			return `"customer_id":` + id + `,"customer_reference":` + id + `,"x":` + quote(repeat(`\u0001`, n))
		}),
		caseOf("white space/stored", http.StatusCreated, func(n int) string { return strings.Repeat(" \t\r\n", n/4) + `"description":"d"` }),
		caseOf("more entries than allowed/rejected", http.StatusBadRequest, func(n int) string {
			return `"pricing_plan_subscription_selector":{"rules":[` + fill(n, func(int) string { return `{"field":"NONE"}` }) + "]}"
		}),
		caseOf("empty entries/rejected", http.StatusBadRequest, func(n int) string {
			return `"pricing_plan_subscription_selector":{"data":[` + fill(n, func(int) string { return `{}` }) + "]}"
		}),
		caseOf("a lone surrogate at the end/rejected", http.StatusBadRequest, func(n int) string { return `"description":` + quote(repeat(`\ud83d\ude00`, n)+`\ud83d`) }),
		caseOf("truncated UTF-8/rejected", http.StatusBadRequest, func(n int) string { return `"description":` + quote(repeat("é", n)+"\xc3") }),
		caseOf("a truncated body/rejected", http.StatusBadRequest, func(n int) string { return `"description":"` + repeat("d", n) }),
	}
	for _, field := range []string{"value.number", "period.start_at", "reference", "x.y"} {
		if field != "x.y" {
			cases = append(cases,
				wrongValue("a long string of digits", field, func(n int) string { return quote(digits(n)) }),
				wrongValue("a long string of escapes", field, func(n int) string { return quote(repeat(`\ud83d\ude00`, n)) }))
		}
		cases = append(cases,
			wrongValue("a long number", field, digits),
			wrongValue("a long exponent", field, func(n int) string { return "1e" + digits(n) }),
			wrongValue("a long fraction", field, func(n int) string { return "0." + digits(n) + "E-7" }))
	}
	return cases
}

func siblingCases() []Case {
	valid := `"charge_datas":[` + event() + "]"
	var cases []Case
	for _, c := range []struct {
		name    string
		members func(n int) string
	}{
		{"short names", func(n int) string {
			return fill(n, func(i int) string { return fmt.Sprintf(`"x%d":1`, i) })
		}},
		{"99 names, one with dots, and more", func(n int) string {
			first := make([]string, 99)
			for i := range first {
				first[i] = fmt.Sprintf(`"a%02d":1`, i)
			}
			return strings.Join(first, ",") + `,"b` + strings.Repeat(".", n/2) + `":1,` +
				fill(n/2, func(i int) string { return fmt.Sprintf(`"c%d":1`, i) })
		}},
		{"names of many dots", func(n int) string {
			return fill(n, func(i int) string { return fmt.Sprintf(`"%d%s":1`, i, strings.Repeat(".", 100)) })
		}},
		{"one long name", func(n int) string { return quote(strings.Repeat("l", n)) + ":1" }},
		{"a name with many nested fields", func(n int) string {
			return quote(strings.Repeat("l", n/2)) + ":{" + fill(n/2, func(i int) string { return fmt.Sprintf(`"%d":1`, i) }) + "}"
		}},
	} {
		for _, keep := range []bool{false, true} {
			a := func(body func(n int) string) func(n int) attack {
				return func(n int) attack {
					a := attack{calls: []call{post(batchPath, body(n), http.StatusBadRequest)}}
					if keep {
						a.configure = keepOnly
					}
					return a
				}
			}
			name := "next to charge_datas: " + c.name
			setting := map[bool]string{false: "/rejected", true: "/rejected with KeepUnknownFields"}[keep]
			cases = append(cases,
				Case{name + setting, caseSize, a(func(n int) string { return "{" + c.members(n) + "," + valid + "}" })},
				Case{name + " after the events" + setting, caseSize, a(func(n int) string { return "{" + valid + "," + c.members(n) + "}" })},
				Case{name + " without events" + setting, caseSize, a(func(n int) string { return "{" + c.members(n) + "}" })},
			)
		}
	}
	return cases
}

package growth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"example.com/chargeingest"
)

const smallEventSize = 130

func events(n int, fields func(i int) string) []string {
	list := make([]string, 0, n/smallEventSize)
	for i := range max(1, n/smallEventSize) {
		list = append(list, event(fields(i)))
	}
	return list
}

const largeSize = 96 << 10

func batchCases() []Case {
	send := func(status int, body func(n int) string, configure ...func(*chargeingest.Config)) func(n int) attack {
		return func(n int) attack {
			return attack{configure: configure, calls: []call{post(batchPath, body(n), status)}}
		}
	}
	small := func(field string) func(n int) string {
		return func(n int) string {
			return batch(events(n, func(i int) string { return strings.ReplaceAll(field, "#", fmt.Sprintf("%06d", i)) })...)
		}
	}
	large := func(field func(n int) string) func(n int) string {
		return func(n int) string { return batch(event(field(n/3)), event(field(n/3)), event(field(n/3))) }
	}
	strict := func(c *chargeingest.Config) { c.RequireReference, c.MaxFutureSkew = true, 1 }
	return []Case{
		{"small events/stored", caseSize, send(http.StatusCreated, small(`"reference":"r#"`))},
		{"small events without a reference/stored", caseSize, send(http.StatusCreated, small(`"description":"d#"`))},
		{"small events/all invalid", caseSize, send(http.StatusBadRequest, small(`"reference":"r #"`))},
		{"small events/the last one invalid", caseSize, send(http.StatusBadRequest, func(n int) string {
			return batch(append(events(n, func(i int) string { return fmt.Sprintf(`"reference":"r%d"`, i) }), event(`"reference":1`))...)
		})},
		{"small events/all violate rules beyond the schema", caseSize,
			send(http.StatusBadRequest, small(`"timestamp":"2126-01-01T00:00:00Z"`), strict)},
		{"small events/all with an unknown field", caseSize, send(http.StatusBadRequest, small(`"x#":1`))},
		{"small events/kept with an unknown field", caseSize, send(http.StatusCreated, small(`"x#":1`), keepUnknown)},
		{"empty events/rejected", caseSize, send(http.StatusBadRequest, func(n int) string {
			return batch(slices.Repeat([]string{"{}"}, n/3)...)
		})},
		{"entries that are not events/rejected", caseSize, send(http.StatusBadRequest, func(n int) string {
			return batch(slices.Repeat([]string{"1"}, n/2)...)
		})},
		{"large events/kept", caseSize, send(http.StatusCreated, large(func(n int) string {
			return `"x":` + quote(strings.Repeat("x", n))
		}), keepUnknown)},
		{"large events/rejected for a wrong field", caseSize, send(http.StatusBadRequest, large(func(n int) string {
			return `"description":` + quote(strings.Repeat(",", n))
		}))},
		{"many lists of events/rejected", caseSize, send(http.StatusBadRequest, func(n int) string {
			return "{" + fill(n, func(int) string { return `"charge_datas":[{}]` }) + "}"
		})},
	}
}

func replayCases() []Case {
	nulls := func(n int) string { return fill(n, func(i int) string { return fmt.Sprintf(`"n%06d":null`, i) }) }
	numbers := func(n int, down bool) string {
		total := n / len(`"n0000000":1,`)
		list := make([]string, total)
		for i := range list {
			list[i] = fmt.Sprintf(`"n%07d":1`, i)
		}
		if down {
			slices.Reverse(list)
		}
		return strings.Join(list, ",")
	}
	again := func(n int) []string { return events(n, func(int) string { return `"reference":"r"` }) }
	capped := func(n int) []string { return again(min(n, 900*smallEventSize)) }
	twice := func(target string, configure []func(*chargeingest.Config), first, second func(n int) string, headers ...string) func(n int) attack {
		return func(n int) attack {
			return attack{
				configure: configure,
				setup:     []call{post(target, first(n), http.StatusCreated, headers...)},
				calls:     []call{post(target, second(n), http.StatusCreated, headers...)},
			}
		}
	}
	references := func(n int) string {
		return batch(events(n, func(i int) string { return fmt.Sprintf(`"reference":"r%d"`, i) })...)
	}
	described := func(n int) string {
		return batch(events(n, func(i int) string { return fmt.Sprintf(`"reference":"r%d","description":"d"`, i) })...)
	}
	largeOf := func(n int) string { return event(`"reference":"r"`, nulls(n/2)) }
	keepAndReturnOriginal := []func(*chargeingest.Config){keepUnknown, returnOriginal}
	ordered := func(down bool) func(n int) string {
		return func(n int) string { return event(`"reference":"r"`, numbers(n, down)) }
	}
	const key = "Idempotency-Key"
	return []Case{
		{"one reference in a batch/stored once", caseSize, func(n int) attack {
			return attack{calls: []call{post(batchPath, batch(again(n)...), http.StatusCreated)}}
		}},
		{"one reference in a batch, the first event large with nulls/accepted", largeSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{
				post(batchPath, batch(append([]string{largeOf(n)}, capped(n/2)...)...), anyStatus),
			}}
		}},
		{"one reference in a batch, the last event large with nulls/accepted", caseSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{
				post(batchPath, batch(append(again(n/2), largeOf(n))...), http.StatusCreated),
			}}
		}},
		{"one reference in a batch, the first event large and stored before/replayed", largeSize, func(n int) attack {
			list := []string{largeOf(n)}
			return attack{configure: keepOnly,
				setup: []call{post(singlePath, list[0], http.StatusCreated)},
				calls: []call{post(batchPath, batch(append(list, capped(n/2)...)...), anyStatus)},
			}
		}},
		{"one reference in a batch, the first event large/conflict", caseSize, func(n int) attack {
			return attack{configure: keepOnly, calls: []call{
				post(batchPath, batch(append([]string{event(`"reference":"r"`, numbers(n/2, false))}, again(n/2)...)...), http.StatusConflict),
			}}
		}},
		{"one reference in a batch, the last event differs/conflict", caseSize, func(n int) attack {
			last := event(`"reference":"r","description":"d"`)
			return attack{calls: []call{post(batchPath, batch(append(again(n), last)...), http.StatusConflict)}}
		}},
		{"one reference in a batch, all events differ/accepted", caseSize, func(n int) attack {
			return attack{configure: keepAndReturnOriginal, calls: []call{
				post(batchPath, batch(events(n, func(i int) string { return fmt.Sprintf(`"reference":"r","description":"%d"`, i) })...), http.StatusCreated),
			}}
		}},
		{"a batch of replays of a large event/replayed", largeSize, func(n int) attack {
			return attack{
				configure: keepOnly,
				setup:     []call{post(singlePath, event(`"reference":"r"`, nulls(n)), http.StatusCreated)},
				calls:     []call{post(batchPath, batch(capped(n)...), anyStatus)},
			}
		}},
		{"an event sent twice/replayed", caseSize, twice(singlePath, keepOnly, ordered(false), ordered(false))},
		{"an event sent twice, in another order/replayed", caseSize, twice(singlePath, keepOnly, ordered(false), ordered(true))},
		{"an event sent twice by a key, in another order/replayed", caseSize, twice(singlePath, keepOnly, ordered(false), ordered(true), key, "k")},
		{"an event sent twice, differing/accepted", caseSize, twice(singlePath, keepAndReturnOriginal, ordered(false), func(n int) string {
			return event(`"reference":"r"`, nulls(n))
		})},
		{"a batch sent twice/replayed", caseSize, twice(batchPath, nil, references, references)},
		{"a batch sent twice by a key/replayed", caseSize, twice(batchPath, nil, references, references, key, "k")},
		{"a batch sent twice, differing/accepted", caseSize, twice(batchPath, keepAndReturnOriginal, references, described)},
		{"many requests with one event/replayed", caseSize, func(n int) attack {
			var calls []call
			for i, e := range events(n, func(i int) string { return fmt.Sprintf(`"reference":"r%d"`, i) }) {
				calls = append(calls, post(singlePath, e, http.StatusCreated, key, fmt.Sprint("k", i)))
			}
			return attack{setup: calls, calls: calls}
		}},
	}
}

func conflictCases() []Case {
	const key = "Idempotency-Key"
	differing := func(configure []func(*chargeingest.Config), first, second func(i int) string) func(n int) attack {
		return func(n int) attack {
			return attack{
				configure: configure,
				setup:     []call{post(batchPath, batch(events(n, first)...), http.StatusCreated, key, "k")},
				calls:     []call{post(batchPath, batch(events(n, second)...), http.StatusConflict, key, "k")},
			}
		}
	}
	unknown := func(format string) func(i int) string {
		return func(i int) string { return strings.ReplaceAll(format, "#", fmt.Sprint(i)) }
	}
	lists := func(variant int) string {
		const entry = `{"field":"PRICING_PLAN_REFERENCE","value":"%d"}`
		list := strings.Join(slices.Repeat([]string{fmt.Sprintf(entry, variant)}, 100), ",")
		return event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[`+list+`]}`)
	}
	return []Case{
		{"a key for another batch/one path differs in each event", caseSize,
			differing(nil, unknown(`"description":"a#"`), unknown(`"description":"b#"`))},
		{"a key for another batch/another path differs in each event", caseSize,
			differing(keepOnly, unknown(`"x#":1`), unknown(`"x#":2`))},
		{"a key for another batch/two paths differ in each event", caseSize,
			differing(keepOnly, unknown(`"x#":1`), unknown(`"y#":1`))},
		{"a key for another batch/of another length", caseSize, func(n int) attack {
			return attack{
				setup: []call{post(batchPath, batch(events(n, unknown(`"description":"#"`))...), http.StatusCreated, key, "k")},
				calls: []call{post(batchPath, batch(events(n/2, unknown(`"description":"#"`))...), http.StatusConflict, key, "k")},
			}
		}},
		{"a key for another route", caseSize, func(n int) attack {
			value := `"x":` + quote(strings.Repeat("x", n))
			return attack{
				configure: keepOnly,
				setup:     []call{post(batchPath, batch(event(value)), http.StatusCreated, key, "k")},
				calls:     []call{post(singlePath, event(value), http.StatusConflict, key, "k")},
			}
		}},
		{"references of other events/conflict", caseSize, func(n int) attack {
			return attack{
				setup: []call{post(batchPath, batch(events(n, unknown(`"reference":"r#"`))...), http.StatusCreated)},
				calls: []call{post(batchPath, batch(events(n, unknown(`"reference":"r#","description":"d"`))...), http.StatusConflict)},
			}
		}},
		{"references of other events/the last one in conflict", caseSize, func(n int) attack {
			list := events(n, unknown(`"reference":"r#"`))
			last := event(`"description":"d"`, unknown(`"reference":"r#"`)(len(list)-1))
			return attack{
				setup: []call{post(batchPath, batch(list...), http.StatusCreated)},
				calls: []call{post(batchPath, batch(append(list[:len(list)-1:len(list)-1], last)...), http.StatusConflict)},
			}
		}},
		{"long lists of a selector/many conflicts", caseSize, func(n int) attack {
			a := attack{setup: []call{post(singlePath, lists(0), http.StatusCreated)}}
			for range n / len(lists(1)) {
				a.calls = append(a.calls, post(singlePath, lists(1), http.StatusConflict))
			}
			return a
		}},
	}
}

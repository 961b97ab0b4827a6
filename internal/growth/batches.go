package growth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// eventBytes is the approximate size of a small event.
const eventBytes = 130

// events makes n bytes of small events.
func events(n int, members func(i int) string) []string {
	list := make([]string, 0, n/eventBytes)
	for i := range max(1, n/eventBytes) {
		list = append(list, event(members(i)))
	}
	return list
}

// largeSize is the size of cases whose response repeats a large event.
const largeSize = 96 << 10

// batchCases vary the number of events and their size.
func batchCases() []Case {
	send := func(status int, body func(n int) string, configure ...func(*chargeingest.Config)) func(n int) attack {
		return func(n int) attack {
			return attack{configure: configure, calls: []call{post(batched, body(n), status)}}
		}
	}
	small := func(member string) func(n int) string {
		return func(n int) string {
			return batch(events(n, func(i int) string { return strings.ReplaceAll(member, "#", fmt.Sprintf("%06d", i)) })...)
		}
	}
	large := func(member func(n int) string) func(n int) string {
		return func(n int) string { return batch(event(member(n/3)), event(member(n/3)), event(member(n/3))) }
	}
	strict := func(c *chargeingest.Config) { c.RequireReference, c.MaxFutureSkew = true, 1 }
	return []Case{
		{"small events/stored", size, send(http.StatusCreated, small(`"reference":"r#"`))},
		{"small events without a reference/stored", size, send(http.StatusCreated, small(`"description":"d#"`))},
		{"small events/all wrong", size, send(http.StatusBadRequest, small(`"reference":"r #"`))},
		{"small events/the last one wrong", size, send(http.StatusBadRequest, func(n int) string {
			return batch(append(events(n, func(i int) string { return fmt.Sprintf(`"reference":"r%d"`, i) }), event(`"reference":1`))...)
		})},
		{"small events/all against the rules beyond the schema", size,
			send(http.StatusBadRequest, small(`"timestamp":"2126-01-01T00:00:00Z"`), strict)},
		{"small events/all with an unknown field", size, send(http.StatusBadRequest, small(`"x#":1`))},
		{"small events/kept with an unknown field", size, send(http.StatusCreated, small(`"x#":1`), keepUnknown)},
		{"empty events/refused", size, send(http.StatusBadRequest, func(n int) string {
			return batch(slices.Repeat([]string{"{}"}, n/3)...)
		})},
		{"entries that are no events/refused", size, send(http.StatusBadRequest, func(n int) string {
			return batch(slices.Repeat([]string{"1"}, n/2)...)
		})},
		{"large events/kept", size, send(http.StatusCreated, large(func(n int) string {
			return `"x":` + quote(strings.Repeat("x", n))
		}), keepUnknown)},
		{"large events/refused for a wrong field", size, send(http.StatusBadRequest, large(func(n int) string {
			return `"description":` + quote(strings.Repeat(",", n))
		}))},
		{"many lists of events/refused", size, send(http.StatusBadRequest, func(n int) string {
			return "{" + fill(n, func(int) string { return `"charge_datas":[{}]` }) + "}"
		})},
	}
}

// repeatCases are requests that repeat stored events, or their own.
func repeatCases() []Case {
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
	// A batch has at most 1,000 events.
	most := func(n int) []string { return again(min(n, 900*eventBytes)) }
	twice := func(target string, configure []func(*chargeingest.Config), first, second func(n int) string, headers ...string) func(n int) attack {
		return func(n int) attack {
			return attack{
				configure: configure,
				before:    []call{post(target, first(n), http.StatusCreated, headers...)},
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
	accepting := []func(*chargeingest.Config){keepUnknown, returnOriginal}
	ordered := func(down bool) func(n int) string {
		return func(n int) string { return event(`"reference":"r"`, numbers(n, down)) }
	}
	const key = "Idempotency-Key"
	return []Case{
		{"one reference in a batch/stored once", size, func(n int) attack {
			return attack{calls: []call{post(batched, batch(again(n)...), http.StatusCreated)}}
		}},
		// The response repeats the large event for each small one, so it is a product
		// up to the bound of a response. Both sizes exceed that bound.
		{"one reference in a batch, the first event large with nulls/accepted", largeSize, func(n int) attack {
			return attack{configure: keeping, calls: []call{
				post(batched, batch(append([]string{largeOf(n)}, most(n/2)...)...), anyStatus),
			}}
		}},
		{"one reference in a batch, the last event large with nulls/accepted", size, func(n int) attack {
			return attack{configure: keeping, calls: []call{
				post(batched, batch(append(again(n/2), largeOf(n))...), http.StatusCreated),
			}}
		}},
		{"one reference in a batch, the first event large and stored before/replayed", largeSize, func(n int) attack {
			list := []string{largeOf(n)}
			return attack{configure: keeping,
				before: []call{post(single, list[0], http.StatusCreated)},
				calls:  []call{post(batched, batch(append(list, most(n/2)...)...), anyStatus)},
			}
		}},
		{"one reference in a batch, the first event large/conflict", size, func(n int) attack {
			return attack{configure: keeping, calls: []call{
				post(batched, batch(append([]string{event(`"reference":"r"`, numbers(n/2, false))}, again(n/2)...)...), http.StatusConflict),
			}}
		}},
		{"one reference in a batch, the last event differs/conflict", size, func(n int) attack {
			last := event(`"reference":"r","description":"d"`)
			return attack{calls: []call{post(batched, batch(append(again(n), last)...), http.StatusConflict)}}
		}},
		{"one reference in a batch, all events differ/accepted", size, func(n int) attack {
			return attack{configure: accepting, calls: []call{
				post(batched, batch(events(n, func(i int) string { return fmt.Sprintf(`"reference":"r","description":"%d"`, i) })...), http.StatusCreated),
			}}
		}},
		{"a batch that repeats a large stored event/replayed", largeSize, func(n int) attack {
			return attack{
				configure: keeping,
				before:    []call{post(single, event(`"reference":"r"`, nulls(n)), http.StatusCreated)},
				calls:     []call{post(batched, batch(most(n)...), anyStatus)},
			}
		}},
		{"an event twice/replayed", size, twice(single, keeping, ordered(false), ordered(false))},
		{"an event twice, in another order/replayed", size, twice(single, keeping, ordered(false), ordered(true))},
		{"an event twice by a key, in another order/replayed", size, twice(single, keeping, ordered(false), ordered(true), key, "k")},
		{"an event twice, differing/accepted", size, twice(single, accepting, ordered(false), func(n int) string {
			return event(`"reference":"r"`, nulls(n))
		})},
		{"a batch twice/replayed", size, twice(batched, nil, references, references)},
		{"a batch twice by a key/replayed", size, twice(batched, nil, references, references, key, "k")},
		{"a batch twice, differing/accepted", size, twice(batched, accepting, references, described)},
		{"many events by one request each/replayed", size, func(n int) attack {
			var calls []call
			for i, e := range events(n, func(i int) string { return fmt.Sprintf(`"reference":"r%d"`, i) }) {
				calls = append(calls, post(single, e, http.StatusCreated, key, fmt.Sprint("k", i)))
			}
			return attack{before: calls, calls: calls}
		}},
	}
}

// conflictCases are conflicts of many events; nameCases has those of many members.
func conflictCases() []Case {
	const key = "Idempotency-Key"
	differing := func(configure []func(*chargeingest.Config), first, second func(i int) string) func(n int) attack {
		return func(n int) attack {
			return attack{
				configure: configure,
				before:    []call{post(batched, batch(events(n, first)...), http.StatusCreated, key, "k")},
				calls:     []call{post(batched, batch(events(n, second)...), http.StatusConflict, key, "k")},
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
		{"a key for another batch/one path differs in each event", size,
			differing(nil, unknown(`"description":"a#"`), unknown(`"description":"b#"`))},
		{"a key for another batch/another path differs in each event", size,
			differing(keeping, unknown(`"x#":1`), unknown(`"x#":2`))},
		{"a key for another batch/two paths differ in each event", size,
			differing(keeping, unknown(`"x#":1`), unknown(`"y#":1`))},
		{"a key for another batch/of another length", size, func(n int) attack {
			return attack{
				before: []call{post(batched, batch(events(n, unknown(`"description":"#"`))...), http.StatusCreated, key, "k")},
				calls:  []call{post(batched, batch(events(n/2, unknown(`"description":"#"`))...), http.StatusConflict, key, "k")},
			}
		}},
		{"a key for another route", size, func(n int) attack {
			value := `"x":` + quote(strings.Repeat("x", n))
			return attack{
				configure: keeping,
				before:    []call{post(batched, batch(event(value)), http.StatusCreated, key, "k")},
				calls:     []call{post(single, event(value), http.StatusConflict, key, "k")},
			}
		}},
		{"references of other events/conflict", size, func(n int) attack {
			return attack{
				before: []call{post(batched, batch(events(n, unknown(`"reference":"r#"`))...), http.StatusCreated)},
				calls:  []call{post(batched, batch(events(n, unknown(`"reference":"r#","description":"d"`))...), http.StatusConflict)},
			}
		}},
		{"references of other events/the last one in conflict", size, func(n int) attack {
			list := events(n, unknown(`"reference":"r#"`))
			last := event(`"description":"d"`, unknown(`"reference":"r#"`)(len(list)-1))
			return attack{
				before: []call{post(batched, batch(list...), http.StatusCreated)},
				calls:  []call{post(batched, batch(append(list[:len(list)-1:len(list)-1], last)...), http.StatusConflict)},
			}
		}},
		{"long lists of a selector/conflict, many times", size, func(n int) attack {
			a := attack{before: []call{post(single, lists(0), http.StatusCreated)}}
			for range n / len(lists(1)) {
				a.calls = append(a.calls, post(single, lists(1), http.StatusConflict))
			}
			return a
		}},
	}
}

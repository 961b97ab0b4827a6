package growth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"example.com/chargeingest"
)

func ingestCases() []Case {
	extra := func(n int, name func(i int) string, value string) []chargeingest.ExtraField {
		var fields []chargeingest.ExtraField
		for i, sum := 0, 0; sum < n; i, sum = i+1, sum+len(name(i))+len(value)+4 {
			fields = append(fields, chargeingest.ExtraField{Name: name(i), Value: json.RawMessage(value)})
		}
		return fields
	}
	charge := func(fields []chargeingest.ExtraField) chargeingest.ChargeEvent {
		return chargeingest.ChargeEvent{
			ProductItemID: "p", PricingID: "p", PricingItemID: "p", PricingItemConfigID: "p",
			Reference: new("r"), Extra: fields,
		}
	}
	direct := func(status int, events ...chargeingest.ChargeEvent) call {
		return call{ingest: &chargeingest.IngestRequest{Platform: chargeingest.DefaultPlatform, Events: events}, status: status}
	}
	keyed := func(c call) call {
		c.ingest.IdempotencyKey = "k"
		return c
	}
	short := func(i int) string { return fmt.Sprintf("x%07d", i) }
	dotted := func(n int) []chargeingest.ExtraField {
		fields := extra(99*8, func(i int) string { return fmt.Sprintf("a%02d", i) }, "1")
		fields = append(fields, chargeingest.ExtraField{Name: "b" + strings.Repeat(".", n/2), Value: json.RawMessage("1")})
		return append(fields, extra(n/2, func(i int) string { return "c" + short(i) }, "1")...)
	}
	within := func(n int, value string) []chargeingest.ExtraField {
		inner := "{" + fill(n/2, func(i int) string { return quote(short(i)) + ":" + value }) + "}"
		return []chargeingest.ExtraField{{Name: strings.Repeat("l", n/2), Value: json.RawMessage(inner)}}
	}
	many := func(n int, value string) []chargeingest.ChargeEvent {
		list := make([]chargeingest.ChargeEvent, n/smallEventSize)
		for i := range list {
			list[i] = charge(nil)
			list[i].Reference, list[i].Description = new(fmt.Sprint("r", i)), &value
		}
		return list
	}
	cases := []Case{
		{"Ingest: small events/stored", caseSize, func(n int) attack {
			return attack{calls: []call{direct(http.StatusCreated, many(n, "d")...)}}
		}},
		{"Ingest: small events/rejected", caseSize, func(n int) attack {
			return attack{calls: []call{direct(http.StatusBadRequest, many(n, "not, a, description")...)}}
		}},
		{"Ingest: small events/key conflict", caseSize, func(n int) attack {
			return attack{
				setup: []call{keyed(direct(http.StatusCreated, many(n, "a")...))},
				calls: []call{keyed(direct(http.StatusConflict, many(n, "b")...))},
			}
		}},
		{"Ingest: invalid UTF-8/rejected", caseSize, func(n int) attack {
			e := charge(nil)
			e.Description = new(repeat("é", n) + "\xc3")
			return attack{calls: []call{direct(http.StatusBadRequest, e)}}
		}},
		{"Ingest: a name with many nested fields/conflict", caseSize, func(n int) attack {
			return attack{configure: keepOnly,
				setup: []call{direct(http.StatusCreated, charge(within(n, "1")))},
				calls: []call{direct(http.StatusConflict, charge(within(n, "2")))},
			}
		}},
	}
	for _, c := range []struct {
		name    string
		members func(n int) []chargeingest.ExtraField
	}{
		{"short names", func(n int) []chargeingest.ExtraField { return extra(n, short, "1") }},
		{"99 names, one with dots, and more", dotted},
	} {
		name, fields := c.name, c.members
		cases = append(cases,
			Case{"Ingest: " + name + "/rejected", caseSize, func(n int) attack {
				return attack{calls: []call{direct(http.StatusBadRequest, charge(fields(n)))}}
			}},
			Case{"Ingest: " + name + "/kept", caseSize, func(n int) attack {
				return attack{configure: keepOnly, calls: []call{direct(http.StatusCreated, charge(fields(n)))}}
			}},
			Case{"Ingest: " + name + "/kept, another field invalid", caseSize, func(n int) attack {
				e := charge(fields(n))
				e.Reference = new("not a reference")
				return attack{configure: keepOnly, calls: []call{direct(http.StatusBadRequest, e)}}
			}},
			Case{"Ingest: " + name + "/key conflict", caseSize, func(n int) attack {
				return attack{configure: keepOnly,
					setup: []call{keyed(direct(http.StatusCreated, charge(nil)))},
					calls: []call{keyed(direct(http.StatusConflict, charge(fields(n))))},
				}
			}},
		)
	}
	return cases
}

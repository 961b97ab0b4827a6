package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const customers = 5000

// generator makes bodies with the field frequencies and lengths of usage billing. Equal seeds
// make equal bodies.
type generator struct {
	random    *rand.Rand
	customer  *rand.Zipf
	products  []product
	customers []customer
}

type product struct {
	id, pricing string
	items       []item
}

type item struct {
	id      string
	configs []string
}

type customer struct {
	id, reference                         string
	subscriptionID, subscriptionReference string
}

func newGenerator(seed uint64) *generator {
	random := rand.New(newRandom(seed, 0, 0x6576656e7473)) //nolint:gosec // no secrets
	g := &generator{random: random, customer: rand.NewZipf(random, 1.2, 1, customers-1)}
	for range 12 {
		p := product{id: g.name("proi_"), pricing: g.name("pric_")}
		for range 1 + random.IntN(3) {
			i := item{id: g.name("prii_")}
			for range 1 + random.IntN(4) {
				i.configs = append(i.configs, g.name("pico_"))
			}
			p.items = append(p.items, i)
		}
		g.products = append(g.products, p)
	}
	for i := range customers {
		g.customers = append(g.customers, customer{
			id:                    g.name("cust_"),
			reference:             fmt.Sprintf("%s-%05d", pick(random, "acct", "acct", "acct", "org", "shop"), i),
			subscriptionID:        g.name("pps_"),
			subscriptionReference: fmt.Sprintf("sub_%04d_%s", i, pick(random, "trial", "monthly", "annual")),
		})
	}
	return g
}

func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

func (g *generator) name(prefix string) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := []byte(prefix)
	for range 20 {
		b = append(b, alphabet[g.random.IntN(len(alphabet))])
	}
	return string(b)
}

func (g *generator) chance(permille int) bool { return g.random.IntN(1000) < permille }

type event struct {
	body              []byte
	reference         int // position of the placeholder
	customerReference string
}

func (g *generator) next() event {
	const placeholder = "00000000-0000-4000-8000-000000000000"
	layout := pick(g.random, layout{",", ":"}, layout{", ", ": "})
	e := &object{layout: layout}
	p := pick(g.random, g.products...)
	i := pick(g.random, p.items...)
	e.text("product_item_id", p.id).text("pricing_id", p.pricing).text("pricing_item_id", i.id).
		text("pricing_item_config_id", pick(g.random, i.configs...))
	made := event{customerReference: g.addCustomer(e)}
	e.text("reference", placeholder)
	if g.chance(510) {
		e.text("description", pick(g.random, "Seats monthly", "Set-up fee", "GPU hours", "api_calls eu-west-1", "Storage GB-month",
			"Overage for July 2026", "SMS to NL + BE", "Credit note   line 2", "Card issuing  batch 7", "Manual correction"))
	}
	if g.chance(960) {
		e.json("value", g.value(layout))
	}
	if g.chance(400) {
		e.json("period", g.period(layout))
	}
	if g.chance(860) {
		e.text("timestamp", g.timestamp())
	}
	body := e.String()
	made.body, made.reference = []byte(body), strings.Index(body, placeholder)
	return made
}

func (g *generator) addCustomer(e *object) string {
	c := g.customers[g.customer.Uint64()]
	reference := ""
	if g.chance(460) {
		reference = c.reference
		e.text("customer_reference", reference)
	} else {
		e.text("customer_id", c.id)
		if g.chance(370) {
			e.json("customer_reference", "null")
		}
	}
	switch n := g.random.IntN(1000); {
	case n < 300:
		e.text("pricing_plan_subscription_id", c.subscriptionID)
	case n < 610:
		e.text("pricing_plan_subscription_reference", c.subscriptionReference)
	case n < 710:
		e.json("pricing_plan_subscription_selector", g.selector(e.layout))
	}
	return reference
}

func (g *generator) selector(l layout) string {
	entry := func(field string) *object { return (&object{layout: l}).text("field", field) }
	list := func(o *object) string { return "[" + o.String() + "]" }
	s := &object{layout: l}
	s.json("data", list(entry("PRICING_PLAN_REFERENCE").text("value", pick(g.random, "plan_a", "plan_b", "plan_c"))))
	s.json("rules", list(entry("PRICING_PLAN_REFERENCE").text("type", "EQUALS")))
	s.json("filters", list(entry("BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY").
		text("type", pick(g.random, "EQUALS", "IN", "NOT_EMPTY")).text("value", pick(g.random, "NL", "DE", "NL,BE"))))
	return s.json("fallback", pick(g.random, `"LATEST"`, `"NONE"`, "null")).String()
}

func (g *generator) value(l layout) string {
	v := &object{layout: l}
	n := g.random.IntN(1000)
	switch {
	case n < 70:
		return v.text("count", strconv.Itoa(1+g.random.IntN(600))).text("reference", "transaction_count").String()
	case n < 735:
		v.text("number", g.decimal())
	}
	if n >= 700 {
		a := &object{layout: l}
		a.text("quantity", g.decimal()).text("currency", pick(g.random, "EUR", "EUR", "EUR", "USD", "JPY", "GBP", "SEK"))
		v.json("amount", a.String())
	}
	return v.String()
}

// decimal includes numbers that are too long for a float64.
func (g *generator) decimal() string {
	r := g.random
	switch n := r.IntN(1000); {
	case n < 410:
		return strconv.Itoa(1000 + r.IntN(9000))
	case n < 510:
		return strconv.Itoa(r.IntN(1000))
	case n < 810:
		return fmt.Sprintf("%d.%02d", r.IntN(1000), r.IntN(100))
	case n < 910:
		return fmt.Sprintf("0.%012d", r.Int64N(1e12))
	case n < 965:
		return fmt.Sprintf("-%d.%04d", r.IntN(100), r.IntN(10_000))
	}
	return fmt.Sprintf("%d%06d.%09d", 1+r.Int64N(999_999_999_999_999_999), r.IntN(1e6), r.IntN(1e9))
}

func (g *generator) period(l layout) string {
	start := time.Date(2026, time.Month(1+g.random.IntN(9)), 1, 0, 0, 0, 0, time.UTC)
	p := &object{layout: l}
	p.text("start_at", start.Format(time.RFC3339)).text("end_at", start.AddDate(0, 1, 0).Format(time.RFC3339))
	if g.chance(310) {
		p.text("ratio", fmt.Sprintf("0.%06d", g.random.IntN(1e6)))
	}
	return p.String()
}

func (g *generator) timestamp() string {
	at := time.Date(2026, time.September, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(g.random.Int64N(30*24*3600)) * time.Second)
	switch n := g.random.IntN(1000); {
	case n < 410:
		return at.Format(time.RFC3339)
	case n < 610:
		return at.Format("2006-01-02T15:04:05.") + fmt.Sprintf("%03dZ", g.random.IntN(1000))
	case n < 805:
		return at.Format("2006-01-02T15:04:05.") + fmt.Sprintf("%06dZ", g.random.IntN(1e6))
	}
	return at.Format("2006-01-02T15:04:05") + pick(g.random, "+00:00", "+02:00", "+09:00", "-05:00")
}

type layout struct{ comma, colon string }

type object struct {
	layout layout
	b      strings.Builder
}

func (o *object) text(name, value string) *object { return o.json(name, `"`+value+`"`) }

func (o *object) json(name, value string) *object {
	if o.b.Len() > 0 {
		o.b.WriteString(o.layout.comma)
	}
	o.b.WriteString(`"` + name + `"` + o.layout.colon + value)
	return o
}

func (o *object) String() string { return "{" + o.b.String() + "}" }

package browsertest

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (p *page) eventRows(n int) []string {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelectorAll('#events-table tbody tr').length === %d`, n))
	return p.texts("#events-table tbody tr")
}

func (p *page) search(fields map[string]string) {
	p.t.Helper()
	p.see("#events-form", "")
	for name, value := range fields {
		selector := fmt.Sprintf("#events-form [name=%s]", name)
		if evaluate[bool](p, fmt.Sprintf(`!__t.find(%q)`, selector)) {
			p.click("#events-more", "")
		}
		switch {
		case evaluate[string](p, fmt.Sprintf(`document.querySelector(%q).tagName`, selector)) == "SELECT":
			p.choose(selector, value)
		case name == "from" || name == "to":
			p.setTime(selector, value)
		default:
			p.enter(selector, value)
		}
	}
	p.click("#events-search", "")
}

func (p *page) setTime(selector, value string) {
	p.t.Helper()
	evaluate[bool](p, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q;
		for (const type of ['input', 'change']) e.dispatchEvent(new Event(type, { bubbles: true }));
		return true; })()`, selector, value))
}

func TestEvents(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(201, event("order-1", "cust_1", amount("0.1", "EUR"), `"timestamp":"2026-09-01T00:00:00Z"`))
		h.ingest(201, event("order-2", "cust_1", amount("0.2", "EUR"), `"timestamp":"2026-09-02T00:00:00Z","customer_reference":"acct-7"`))
		h.ingest(201, event("order-3", "cust_2", amount("12345678901234567890.123456789", "USD"), `"timestamp":"2026-09-03T00:00:00Z"`))
		h.ingest(201, event("order-4", "cust_2", amount("-0.023456789", "USD"), `"timestamp":"2026-09-04T00:00:00Z"`))
		h.ingest(201, event("order-5", "cust_3", `"value":{"number":"752.41","count":"3"},"period":{"start_at":"2026-04-01T00:00:00Z","ratio":"0.5"},"timestamp":"2026-09-05T00:00:00Z"`))
		p := open(t, v, h.link(adaKey))
		p.click("#tabs a", "Events")
		rows := p.eventRows(5)
		require.Contains(t, rows[0], "order-5")
		require.Contains(t, rows[4], "order-1")
		for sum, want := range map[string]string{"EUR": "0.3", "USD": "12345678901234567890.100000000", "number": "752.41", "count": "3"} {
			assert.Equal(t, []string{want}, p.texts(fmt.Sprintf(`#events-sums [data-sum="%s"]`, sum)), sum)
		}
		require.NotContains(t, p.text("#events-status"), "sums")
		p.accessible("events")
		p.tabStops("events")

		for _, c := range []struct {
			fields map[string]string
			want   []string
		}{
			{map[string]string{"reference": "order-3"}, []string{"order-3"}},
			{map[string]string{"customer_id": "cust_1"}, []string{"order-2", "order-1"}},
			{map[string]string{"customer_reference": "acct-7"}, []string{"order-2"}},
			{map[string]string{"from": "2026-09-02T00:00", "to": "2026-09-04T00:00"}, []string{"order-3", "order-2"}},
			{map[string]string{"order": "asc", "customer_id": "cust_2"}, []string{"order-3", "order-4"}},
		} {
			p.search(c.fields)
			rows := p.eventRows(len(c.want))
			for i, want := range c.want {
				assert.Contains(t, rows[i], want, c.fields)
			}
			p.do(reload)
			p.eventRows(len(c.want))
			p.click("#events-clear", "")
			p.eventRows(5)
		}
		p.search(map[string]string{"reference": "none"})
		p.see("#events-empty", "")
		p.accessible("no events")
		p.click("#events-clear", "")

		p.eventRows(5)
		p.click("#events-table tbody tr", "order-5")
		p.see("#event-detail", "order-5")
		for field, want := range map[string]string{"reference": "order-5", "customer_id": "cust_3", "value.number": "752.41", "value.count": "3",
			"period.start_at": "2026-04-01T00:00:00Z", "period.ratio": "0.5", "timestamp": "2026-09-05T00:00:00Z", "description": "–", "pricing_plan_subscription_id": "–",
			"product_item_id": "proi_V7EoCpciIAHibhKIxqQI", "object_type": "CHARGE_DATA"} {
			assert.Equal(t, want, evaluate[string](p, fmt.Sprintf(`document.querySelector('#event-detail [data-field="%s"]')?.innerText.trim() ?? 'not shown'`, field)), field)
		}
		p.accessible("event")
		p.tabStops("event")
		id := evaluate[string](p, `document.querySelector('#event-detail').dataset.id`)
		require.Contains(t, p.clipboard("#event-copy"), id)
		p.do(reload)
		p.see("#event-detail", "order-5")
		p.click("#event-requests", "")
		p.see(".row[data-id]", "order-5")
		p.rowCount(1)

		p.click("#tabs a", "Events")
		p.search(map[string]string{"id": id})
		p.see("#event-detail", "order-5")
		p.click("#event-back", "")
		p.eventRows(5)
		p.expect(`404`)
		p.search(map[string]string{"id": "chda_none"})
		p.see("#tab-events", "No event has the id")
		p.accessible("no such event")
	})
}

func TestEventPages(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		var events []string
		for i := range 25 {
			events = append(events, event(fmt.Sprintf("order-%02d", i), "cust_1", amount("0.1", "EUR")))
		}
		status, _ := h.send("POST", endpoint+"s", batch(events...))
		require.Equal(t, 201, status)
		p := open(t, v, h.page+"#key="+adaKey)
		p.see(".row[data-id]", "")
		p.navigate(h.page + "#/events?limit=10")
		var seen []string
		for _, n := range []int{10, 10, 5} {
			rows := p.eventRows(n)
			seen = append(seen, rows...)
			require.Equal(t, []string{map[int]string{10: "1.0", 5: "0.5"}[n]}, p.texts(`#events-sums [data-sum="EUR"]`))
			require.Contains(t, p.text("#events-status"), "the sums are of this page")
			if n == 10 {
				first := evaluate[string](p, `document.querySelector('#events-table tbody tr').dataset.id`)
				p.click("#events-next", "")
				p.wait(`document.querySelector('#events-table tbody tr').dataset.id !== ` + strconv.Quote(first))
			}
		}
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(seen))), 25)
		require.True(t, evaluate[bool](p, `document.querySelector('#events-next').disabled`))
		p.accessible("last page")
		p.click("#events-previous", "")
		require.Equal(t, seen[10:20], p.eventRows(10))
		p.click("#events-first", "")
		p.wait(`document.querySelector('#events-first').disabled`)
		require.Equal(t, seen[:10], p.eventRows(10))
	})
}

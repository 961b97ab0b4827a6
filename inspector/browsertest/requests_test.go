package browsertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const live = `document.querySelector('#connection').dataset.state === 'live'`

func (p *page) rowCount(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelectorAll('#list .row[data-id]').length === %d`, n))
}

const references = `[...document.querySelectorAll('#list .row[data-id]')]
	.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
	.map((r) => r.querySelector('[data-col=references]').textContent.trim())`

func (p *page) references() []string {
	p.t.Helper()
	return evaluate[[]string](p, references)
}

func (p *page) seeReferences(want []string) {
	p.t.Helper()
	text, err := json.Marshal(want)
	require.NoError(p.t, err)
	p.wait(fmt.Sprintf(`((shown, want) => shown.length === want.length && shown.every((s, i) => s.includes(want[i])))(%s, %s)`, references, text))
}

func (p *page) away() {
	p.t.Helper()
	p.do(chromedp.MouseEvent("mouseMoved", 2, 2))
}

func TestLiveList(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		p := open(t, v, h.link(adaKey))
		p.see("#list-empty", "")
		p.do(reload) // the first document can be laid out before the emulated width applies
		p.see("#list-empty", "")
		p.accessible("empty list")
		p.wait(live)
		evaluate[bool](p, `(window.sameDocument = true)`)
		h.ingest(201, event("order-1", "cust_1"))
		p.see(".row[data-status='201']", "order-1")
		h.ingest(201, event("order-1", "cust_1"))
		h.ingest(400, event("order-2", "cust_1", `"value":{"number":12.5}`))
		p.see(".row[data-status='400']", "order-2")
		p.rowCount(3)
		require.Equal(t, []string{"order-2", "order-1", "order-1"}, p.references())
		require.True(t, evaluate[bool](p, `window.sameDocument`))
		require.Less(t, evaluate[float64](p, `__t.cls`), 0.01, "%v", evaluate[[]string](p, `__t.shifts`))
		if !v.mobile {
			for column, want := range map[string]string{"status": "400", "route": "charge-data", "platform": "default", "subject": "ada", "code": "INVALID_FIELD", "events": "0 of 1"} {
				assert.Contains(t, p.text(fmt.Sprintf(".row[data-status='400'] [data-col=%s]", column)), want, column)
			}
			require.Regexp(t, `\d`, p.text(".row[data-status='400'] [data-col=duration]"))
			require.Regexp(t, `\d\d:\d\d:\d\d`, p.text(".row[data-status='400'] [data-col=time]"))
		}
		require.Contains(t, p.text(".row[data-status='400'] [data-col=code]"), "value.number")
		require.Regexp(t, `(?i)replay`, strings.Join(p.texts(".row[data-id]"), "\n"))
		p.accessible("list")
		p.tabStops("list")

		p.click("#pause", "")
		p.wait(`document.querySelector('#pause').getAttribute('aria-pressed') === 'true' && document.querySelector('#connection').dataset.state === 'paused'`)
		h.ingest(201, event("order-3", "cust_1"))
		p.accessible("paused")
		require.Equal(t, []string{"order-2", "order-1", "order-1"}, p.references())
		p.click("#pause", "")
		p.away()
		p.see(".row[data-id]", "order-3")
		p.wait(live)
		h.ingest(201, event("order-4", "cust_1"))
		p.see(".row[data-id]", "order-4")
	})
}

func (p *page) hover(selector string) {
	p.t.Helper()
	at := evaluate[struct{ X, Y float64 }](p, fmt.Sprintf(`__t.target(%q)`, selector))
	p.do(chromedp.MouseEvent("mouseMoved", at.X, at.Y))
}

func TestHeldBack(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.link(adaKey))
	p.see(".row[data-id]", "order-1")
	p.wait(live)
	p.hover(".row[data-id]")
	h.ingest(201, event("order-2", "cust_1"))
	p.see("#new-requests", "1")
	require.Equal(t, []string{"order-1"}, p.references())
	p.click("#new-requests", "")
	p.see(".row[data-id]", "order-2")
	require.Equal(t, []string{"order-2", "order-1"}, p.references())
}

func TestFilters(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(201, event("order-1", "cust_1"))
		h.ingest(409, event("order-1", "cust_1", `"value":{"number":"1"}`))
		h.ingest(400, event("order-2", "cust_2", `"value":{"number":12.5}`))
		h.ingest(400, event("order-3", "cust_2", `"value":{"numbr":"1"},"description":"GPU hours"`))
		status, _ := h.send("POST", endpoint+"s", batch(event("order-4", "cust_3"), event("order-5", "cust_4")))
		require.Equal(t, 201, status)
		status, _ = h.send("GET", endpoint+"?reference=order-1", "")
		require.Equal(t, 200, status)
		p := open(t, v, h.link(adaKey))
		p.rowCount(6)
		all := p.references()

		for _, f := range []struct {
			field, value string
			want         []string
		}{
			{"status", "4xx", []string{"order-3", "order-2", "order-1"}},
			{"code", "RESOURCE_ALREADY_EXISTS", []string{"order-1"}},
			{"reference", "order-5", []string{"order-4"}},
			{"customer", "cust_2", []string{"order-3", "order-2"}},
			{"route", "charge-datas", []string{"order-4"}},
			{"text", "gpu HOURS", []string{"order-3"}},
		} {
			p.filter(f.field, f.value)
			p.seeReferences(f.want)
			p.click("#clear-filters", "")
			p.rowCount(6)
			require.Equal(t, all, p.references())
			require.NotContains(t, p.location(), f.field+"=")
		}

		p.filter("customer", "cust_2")
		p.filter("status", "4xx")
		p.rowCount(2)
		p.accessible("filtered")
		bookmark := p.location()
		p.do(reload)
		p.rowCount(2)
		require.Equal(t, bookmark, p.location())
		require.Equal(t, "cust_2", evaluate[string](p, `document.querySelector('#filter-customer').value`))
		h.ingest(400, event("order-6", "cust_1", `"value":{"number":1}`))
		h.ingest(400, event("order-7", "cust_2", `"value":{"number":1}`))
		p.away()
		p.seeReferences([]string{"order-7", "order-3", "order-2"})
		p.do(chromedp.NavigateBack())
		p.wait(`document.querySelector('#filter-customer').value === 'cust_2' && document.querySelector('#filter-status').value !== '4xx'`)
		p.do(chromedp.NavigateForward())
		p.wait(`document.querySelector('#filter-status').value === '4xx'`)
		p.filter("text", "nothing has this")
		p.see("#list-empty", "")
		p.accessible("no match")

		again := open(t, v, h.link(adaKey))
		again.rowCount(8)
		again.navigate(bookmark)
		again.rowCount(3)
	})
}

func (p *page) filter(field, value string) {
	p.t.Helper()
	if open := `#toggle-filters`; evaluate[bool](p, fmt.Sprintf(`!__t.find('#filter-%s') && !!__t.find(%q)`, field, open)) {
		p.click(open, "")
	}
	selector := "#filter-" + field
	p.see(selector, "")
	if evaluate[string](p, fmt.Sprintf(`__t.find(%q).tagName`, selector)) == "SELECT" {
		p.choose(selector, value)
	} else {
		p.enter(selector, value)
		p.press(kb.Enter)
	}
	p.wait(fmt.Sprintf(`new URLSearchParams(location.hash.split('?')[1]).get(%q) === %q`, field, value))
}

func TestKeyboard(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		for i := range 5 {
			h.ingest(201, event(fmt.Sprintf("order-%d", i), "cust_1"))
		}
		p := open(t, v, h.link(adaKey))
		p.rowCount(5)
		p.press("?")
		p.see("#shortcuts", "")
		p.accessible("shortcuts")
		p.press(kb.Escape)
		p.wait(`!document.querySelector("#shortcuts")?.open`)
		evaluate[bool](p, `(document.querySelector('#list').focus(), true)`)
		if evaluate[bool](p, `document.activeElement !== document.querySelector('#list')`) {
			evaluate[bool](p, `(document.querySelector('#list [tabindex="0"]').focus(), true)`)
		}
		p.press(kb.ArrowDown + kb.ArrowDown + kb.Enter)
		p.see("#detail", "order-")
		p.accessible("detail")
		stops := p.tabStops("detail")
		require.NotEmpty(t, stops)
		p.press(kb.Escape)
		p.seeNot("#detail", "")
		require.True(t, evaluate[bool](p, `document.querySelector('#list').contains(document.activeElement)`))
		p.press("2")
		p.see("#tab-events", "")
		p.press("3")
		p.see("#tab-overview", "")
		p.press("1")
		p.see("#tab-requests", "")
	})
}

package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/performance"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/inspector"
)

// hold delays the next call whose URL has the text until release is called.
func (p *page) hold(text string) {
	p.t.Helper()
	evaluate[bool](p, fmt.Sprintf(`(() => {
		const { fetch } = window;
		const { parse } = JSON;
		Object.assign(__t, { held: '', calls: [], told: 0 });
		const wait = (state) => new Promise((resolve) => Object.assign(__t, { held: state, release: resolve }));
		window.fetch = async (url, options) => {
			__t.calls.push(String(url));
			if (__t.held || !String(url).includes(%q)) return fetch(url, options);
			await wait('request');
			const response = await fetch(url, options);
			await wait('response');
			return response;
		};
		JSON.parse = (line, ...more) => {
			__t.told++;
			return parse(line, ...more);
		};
		return true;
	})()`, text))
}

func (p *page) held(state string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`__t.held === %q`, state))
}

func (p *page) release() { evaluate[bool](p, `(__t.release(), true)`) }

func TestMessageWhileLoading(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.link(adaKey))
	p.rowCount(1)
	p.wait(live)
	p.hold("status=2xx")
	p.filter("status", "2xx")
	p.held("request")
	h.ingest(201, event("order-2", "cust_1"))
	p.wait(`__t.told === 1`)
	p.release()
	p.held("response")
	h.ingest(201, event("order-3", "cust_1"))
	p.wait(`__t.told === 2`)
	p.release()
	p.see(".row[data-id]", "order-3")
}

func TestRowOpenedWhileLoading(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.link(adaKey))
	p.rowCount(1)
	p.hold("status=2xx")
	p.filter("status", "2xx")
	p.held("request")
	p.click(".row[data-id]", "")
	p.see("#detail #detail-body", "")
	require.Contains(t, p.location(), "status=2xx")
	p.release()
	p.held("response")
	p.release()
	p.rowCount(1)
}

func TestPlatformWhileLoading(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("of-default", "cust_1"))
	h.ingest(201, event("of-acme", "cust_1"), "X-Platform-Id", "acme")
	p := open(t, wide, h.link(adaKey))
	p.rowCount(1)
	p.hold("status=2xx")
	p.filter("status", "2xx")
	p.held("request")
	p.release()
	p.held("response")
	p.choose("#platform", "acme")
	p.see(".row[data-id]", "of-acme")
	p.release()
	evaluate[bool](p, `new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0, true)))`)
	require.Equal(t, []string{"of-acme"}, p.references())
}

func TestActionOutlivesTab(t *testing.T) {
	t.Parallel()
	srv := chargetest.New(t)
	p := open(t, wide, srv.InspectorURL())
	p.see("#list-empty", "")
	p.press("4")
	p.see("#sandbox-state [data-state=faults]", "0")
	p.hold("sandbox/clock")
	p.click("#advance-form button", "")
	p.held("request")
	p.release()
	p.held("response")
	evaluate[bool](p, `!!(__t.result = document.querySelector('#sandbox-result'))`)
	p.press("\x1b")
	p.click("#tabs a", "Requests")
	p.see("#tab-requests", "")
	evaluate[bool](p, `(__t.calls.length = 0, __t.release(), true)`)
	p.wait(`__t.result.textContent.includes('clock shows')`)
	require.Equal(t, 0, evaluate[int](p, `__t.calls.filter((url) => url.startsWith('sandbox/')).length`))
}

func TestHeldBackIsBounded(t *testing.T) {
	t.Parallel()
	h := startHost(t, func(c *inspector.Config) { c.MaxRequests = 3 })
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.link(adaKey))
	p.see(".row[data-id]", "order-1")
	p.wait(live)
	p.hover(".row[data-id]")
	for i := range 5 {
		h.ingest(201, event(fmt.Sprintf("order-%d", i+2), "cust_1"))
		p.see("#new-requests", fmt.Sprintf("%d new", min(i+1, 3)))
		p.wait(fmt.Sprintf(`performance.getEntriesByType('resource').filter(({ name }) => name.includes('after=')).length >= %d`, i+1))
	}
	require.Equal(t, "3 new", p.text("#new-requests"))
	p.click("#new-requests", "")
	p.see(".row[data-id]", "order-6")
	require.Equal(t, []string{"order-6", "order-5", "order-4"}, p.references())
}

func TestNewEvents(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.link(adaKey))
	p.rowCount(1)
	p.navigate(h.page + "#/events")
	p.do(reload)
	p.eventRows(1)
	p.wait(live)
	p.seeNot("#events-new", "")
	h.ingest(201, event("order-2", "cust_1"))
	p.click("#events-new", "")
	p.eventRows(2)
	p.seeNot("#events-new", "")
	p.click("#events-table tbody tr a", "chda_")
	id := p.text("#event-detail h2")
	p.click("#event-back", "")
	p.wait(fmt.Sprintf(`document.activeElement.closest('tr')?.dataset.id === %q`, id))
}

func TestLeftTabs(t *testing.T) {
	t.Parallel()
	srv := chargetest.New(t)
	charge(srv, event("order-1", "cust_1"))
	p := open(t, wide, srv.InspectorURL())
	p.see(".row[data-id]", "")
	command(p, performance.Enable, performance.EnableParams{})
	var counts []map[string]float64
	for range 2 {
		for range 5 {
			for i, shown := range []string{"#events-table tr", "#overview-totals dd", "#sandbox-state dd", ".row[data-id]"} {
				p.press(fmt.Sprint((i+1)%4 + 1))
				p.see(shown, "")
			}
			p.press("j\r")
			p.see("#detail-body", "")
			p.press("\x1b")
		}
		for range 4 {
			command(p, heapprofiler.CollectGarbage, cdp.Empty{})
			p.wait(`document.readyState === 'complete'`)
		}
		count := make(map[string]float64)
		for _, m := range command(p, performance.GetMetrics, cdp.Empty{}).Metrics {
			count[m.Name] = m.Value
		}
		counts = append(counts, count)
	}
	for _, name := range []string{"Nodes", "JSEventListeners"} {
		require.Positive(t, counts[0][name], name)
		require.Less(t, counts[1][name], 1.3*counts[0][name], name)
	}
}

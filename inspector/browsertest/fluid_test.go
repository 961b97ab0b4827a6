package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

func TestTenThousandRequests(t *testing.T) {
	t.Parallel()
	const requests = 10_000
	h := startHost(t)
	var senders sync.WaitGroup
	for s := range 8 {
		senders.Go(func() {
			for i := range requests / 8 {
				body := event(fmt.Sprintf("order-%d-%d", s, i), "cust_1")
				if i%10 == 0 {
					body = event(fmt.Sprintf("order-%d-%d", s, i), "cust_1", `"value":{"number":1}`)
				}
				h.post(body)
			}
		})
	}
	senders.Wait()
	inViews(t, func(t *testing.T, v view) {
		p := open(t, v, h.link(adaKey))
		p.see(".row[data-id]", "") // perhaps of the other view
		p.wait(live)
		p.away()
		evaluate[bool](p, `(__t.longTasks.length = 0, true)`)
		var total struct {
			Rows, Frames, Elements int
			End                    bool
		}
		for end := time.Now().Add(8 * timeout); !total.End && time.Now().Before(end); {
			total = evaluate[struct {
				Rows, Frames, Elements int
				End                    bool
			}](p, scroll)
		}
		t.Logf("%d requests seen in %d frames, at most %d elements, long tasks %v ms", total.Rows, total.Frames, total.Elements, evaluate[[]int](p, `__t.longTasks`))
		require.GreaterOrEqual(t, total.Rows, requests*95/100)
		require.Less(t, total.Elements, 3000)

		evaluate[bool](p, `(document.querySelector('#list').scrollTop = 0, __t.longTasks.length = 0, __t.cls = 0, __t.shifts.length = 0, true)`)
		for i := range 200 {
			h.ingest(201, event(fmt.Sprintf("%s-%d", v.name, i), "cust_1"))
		}
		p.see(".row[data-id]", v.name+"-199")
		t.Logf("200 more: long tasks %v ms, layout shift %v", evaluate[[]int](p, `__t.longTasks`), evaluate[float64](p, `__t.cls`))
		require.Less(t, evaluate[float64](p, `__t.cls`), 0.01, "%v", evaluate[[]string](p, `__t.shifts`))
		require.Less(t, evaluate[int](p, `document.querySelectorAll('*').length`), 3000)

		p.filter("status", "4xx")
		p.see(".row[data-status='400']", "")
		p.seeNot(".row[data-status='201']", "")
		p.wait(`document.querySelector('#live').textContent === '200 requests found, and more'`)
		require.Less(t, evaluate[int](p, `document.querySelectorAll('*').length`), 3000)
		p.do(chromedp.Reload())
		p.see(".row[data-status='400']", "")
	})
}

func (h *host) post(body string) {
	r := httptest.NewRequest(http.MethodPost, endpoint, strings.NewReader(body))
	r.Header.Set("X-Api-Key", adaKey)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.server.Handler.ServeHTTP(w, r)
	if w.Code != 201 && w.Code != 400 {
		h.t.Errorf("%d %s", w.Code, w.Body)
	}
}

// scroll counts the different rows that it has seen.
const scroll = `(async () => {
	const list = document.querySelector('#list');
	const seen = __t.seen ??= { rows: new Set(), frames: 0, elements: 0, still: 0, last: -1 };
	for (let i = 0; i < 20 && seen.still < 60; i++) {
		const rows = [...document.querySelectorAll('#list .row[data-id]')];
		list.scrollTop += (rows.length - 3) * rows[0].offsetHeight;
		await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
		seen.frames++;
		const complete = list.getAttribute('aria-rowcount') > 9500; // the server can be slow
		seen.still = complete && list.scrollTop === seen.last ? seen.still + 1 : 0;
		seen.last = list.scrollTop;
		seen.elements = Math.max(seen.elements, document.querySelectorAll('*').length);
		for (const row of document.querySelectorAll('#list .row[data-id]')) seen.rows.add(row.dataset.id);
	}
	return { Rows: seen.rows.size, Frames: seen.frames, Elements: seen.elements, End: seen.still >= 60 };
})()`

package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
)

type fixedStats chargeingest.StoreStats

func (s fixedStats) Stats() chargeingest.StoreStats { return chargeingest.StoreStats(s) }

func TestOverview(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t, func(c *inspector.Config) { c.Stats = exampleStats() })
		h.ingest(201, event("order-1", "cust_1"))
		h.ingest(201, event("order-1", "cust_1"))
		for range 2 {
			h.ingest(400, event("order-2", "cust_1", `"value":{"number":1}`))
		}
		h.ingest(409, event("order-1", "cust_2"))
		p := open(t, v, h.link(adaKey))
		p.rowCount(5)
		p.click("#tabs a", "Overview")
		p.see("#overview-chart", "")
		require.Equal(t, "1", p.text("#overview-totals [data-total=accepted]"))
		require.Equal(t, "1", p.text("#overview-totals [data-total=replayed]"))
		require.Equal(t, "3", p.text("#overview-totals [data-total=rejected]"))
		require.Equal(t, "5", p.text("#overview-totals [data-total=recorded]"))
		heights := evaluate[map[string]float64](p, `Object.fromEntries(['accepted', 'replayed', 'rejected'].map((kind) => [kind,
			[...document.querySelectorAll('#overview-chart rect[data-kind=' + kind + ']')].reduce((n, r) => n + r.getBBox().height, 0)]))`)
		require.Positive(t, heights["accepted"])
		require.InDelta(t, heights["accepted"], heights["replayed"], 0.01)
		require.InDelta(t, 3*heights["accepted"], heights["rejected"], 3)
		for name, want := range map[string]string{"queued": "3", "commits": "1,234", "wal": "", "database": "", "newest_event": ""} {
			found := p.texts("#overview-store [data-store=" + name + "]")
			if assert.Len(t, found, 1, name) {
				assert.Contains(t, found[0], want, name)
				assert.NotEmpty(t, found[0], name)
			}
		}
		p.accessible("overview")
		p.tabStops("overview")
		evaluate[bool](p, `(document.querySelector('#overview-chart').focus(), true)`)
		p.press(kb.End + kb.ArrowLeft)
		p.wait(`document.querySelector('#overview-readout').innerText.trim()`)
		p.reveal("#overview-data table")
		require.Len(t, p.texts("#overview-data tbody tr"), 60)
		p.accessible("the chart as a table")

		h.ingest(201, event("order-3", "cust_1"))
		p.wait(`document.querySelector('#overview-totals [data-total=accepted]').innerText.trim() === '2'`)

		p.click("#overview-refusals tbody tr[data-code=INVALID_FIELD] a", "")
		p.rowCount(2)
		require.Contains(t, p.location(), "code=INVALID_FIELD")
	})
}

func TestOverviewWithoutStats(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	p := open(t, wide, h.link(adaKey))
	p.see("#list-empty", "")
	p.click("#tabs a", "Overview")
	p.see("#overview-chart", "")
	p.seeNot("#overview-store [data-store=commits]", "")
	p.accessible("nothing happened")
}

func exampleStats() chargeingest.StatsReporter {
	free := int64(48 << 30)
	return fixedStats{
		QueuedRequests: 3, QueuedEvents: 5, WALBytes: 4 << 20, LastCheckpoint: screenshotTime.Add(-40 * time.Second),
		DatabaseBytes: 73 << 20, DiskFreeBytes: &free, NewestEvent: screenshotTime.Add(-2 * time.Second), Commits: 1234,
		LastCommit: chargeingest.CommitStats{Requests: 2, Events: 4, Duration: 1200 * time.Microsecond},
	}
}

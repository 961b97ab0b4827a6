package browsertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
)

// TestColours checks each tab in the views that the other tests do not use.
func TestColours(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		srv := chargetest.New(t)
		for _, body := range []string{
			event("order-1", "cust_1", amount("1.50", "EUR")), event("order-1", "cust_1", amount("1.50", "EUR")),
			event("order-1", "cust_1", amount("2.50", "EUR")), event("order-2", "cust_1", `"value":{"number":1}`),
		} {
			charge(srv, body)
		}
		srv.FailNext(1, chargetest.Reset(), chargetest.Reference("order-3"))
		charge(srv, event("order-3", "cust_1"))
		p := open(t, v, srv.InspectorURL())
		p.rowCount(5)
		p.accessible("list")
		luminance := evaluate[float64](p, `__contrast.luminance(__contrast.background(document.querySelector('main')))`)
		require.Equal(t, v.dark, luminance < 0.2, luminance)
		require.Equal(t, !v.dark, luminance > 0.8, luminance)
		for _, status := range []int{400, 409, 201} {
			p.openRow(status, "")
			p.accessible("detail")
			p.click("#detail-body [data-view=raw]", "")
			p.accessible("raw body")
			p.press("\x1b")
			p.seeNot("#detail", "")
		}
		p.press("2")
		p.click("#events-table tbody tr", "order-1")
		p.see("#event-detail", "order-1")
		p.accessible("event")
		p.press("3")
		p.see("#overview-chart", "")
		p.accessible("overview")
		p.press("4")
		p.see("#sandbox-state", "")
		p.accessible("sandbox")
	}, wideDark, narrow)
}

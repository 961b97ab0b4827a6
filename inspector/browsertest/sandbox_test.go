package browsertest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargetest"
)

func charge(srv *chargetest.Server, body string) int {
	r, err := http.NewRequest(http.MethodPost, srv.URL()+"/v1/ingest/charge-data", strings.NewReader(body))
	if err != nil {
		return -1
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Api-Key", srv.APIKey())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (p *page) set(form, name, value string) {
	p.t.Helper()
	selector := fmt.Sprintf(`%s [name="%s"]`, form, name)
	switch kind := evaluate[string](p, fmt.Sprintf(`(() => { const e = document.querySelector(%q); return e.tagName === 'SELECT' ? 'select' : e.type; })()`, selector)); kind {
	case "select":
		p.choose(selector, value)
	case "checkbox":
		p.click(selector, "")
	case "datetime-local":
		p.setTime(selector, value)
	default:
		p.enter(selector, value)
	}
}

func (p *page) result(text string) {
	p.t.Helper()
	p.see("#sandbox-result", text)
}

func TestSandbox(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		srv := chargetest.New(t)
		p := open(t, v, srv.InspectorURL())
		p.see("#list-empty", "")
		p.click("#tabs a", "Sandbox")
		p.see("#sandbox-state [data-state=faults]", "0")
		p.accessible("sandbox")
		p.tabStops("sandbox")

		p.choose(`#fault-form [name="how"]`, "next")
		p.set("#fault-form", "next", "2")
		p.choose(`#fault-form [name="fault.type"]`, "reset")
		p.click(`#fault-form [name="fault.after_commit"]`, "")
		p.click("#fault-add", "")
		p.result("Added")
		p.see("#fault-list [data-fault]", "Reset")
		p.accessible("a fault")
		require.Equal(t, 0, charge(srv, event("order-1", "cust_1")))
		p.see("#fault-list [data-fault] [data-hits='1']", "1 hit")
		p.see("#sandbox-state [data-state=events]", "1")
		p.click("#fault-list [data-fault] button", "")
		p.seeNot("#fault-list [data-fault]", "")
		require.Equal(t, 201, charge(srv, event("order-1", "cust_1")))

		p.choose(`#fault-form [name="fault.type"]`, "status")
		p.set("#fault-form", "next", "5")
		p.set("#fault-form", "fault.status", "599999")
		p.click("#fault-add", "")
		p.expect(`400`)
		p.wait(`document.querySelector('#fault-form [name="fault.status"]').getAttribute('aria-invalid') === 'true'`)
		p.see(`#fault-form [data-error="fault.status"]`, "")
		p.accessible("an invalid fault")
		p.set("#fault-form", "fault.status", "429")
		p.set("#fault-form", "fault.retry_after", "7s")
		p.set("#fault-form", "match.reference", "order-9")
		p.press(kb.Enter)
		p.see("#fault-list [data-fault]", "429")
		require.Equal(t, 201, charge(srv, event("order-8", "cust_1")))
		require.Equal(t, 429, charge(srv, event("order-9", "cust_1")))
		p.click("#fault-clear", "")
		p.seeNot("#fault-list [data-fault]", "")
		require.Equal(t, 201, charge(srv, event("order-9", "cust_1")))

		p.choose(`#fault-form [name="how"]`, "quota")
		p.set("#fault-form", "match.reference", "")
		p.set("#fault-form", "quota.requests", "0")
		p.set("#fault-form", "quota.requests", "1")
		p.set("#fault-form", "quota.window", "1h")
		p.click("#fault-add", "")
		p.see("#fault-list [data-fault]", "")
		require.Equal(t, 201, charge(srv, event("order-10", "cust_1")))
		require.Equal(t, 429, charge(srv, event("order-11", "cust_1")))

		before := srv.Now()
		p.set("#advance-form", "advance", "90m")
		p.click("#advance-form button", "")
		p.result("clock shows")
		require.Equal(t, "1h30m0s", srv.Now().Sub(before).String())
		require.Equal(t, 201, charge(srv, event("order-11", "cust_1")))
		p.set("#set-form", "set", "2030-02-03T04:05:06")
		p.click("#set-form button", "")
		p.see("#sandbox-state [data-state=now]", "2030")
		require.Equal(t, "2030-02-03T04:05:06Z", srv.Now().UTC().Format("2006-01-02T15:04:05Z"))

		p.set("#seed-form", "samples", "4")
		events := len(srv.Events())
		p.click("#seed-form button", "")
		p.result("4 events")
		require.Len(t, srv.Events(), events+4)

		p.expect(`ERR_CONNECTION_(RESET|CLOSED)|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED`)
		p.click("#sandbox-restart", "")
		p.click("#sandbox-restart-yes", "")
		p.result("restarted")
		p.click("#sandbox-reset", "")
		p.click("#sandbox-reset-no", "")
		require.NotEmpty(t, srv.Events())
		p.click("#sandbox-reset", "")
		p.accessible("a question")
		p.click("#sandbox-reset-yes", "")
		p.result("restored")
		p.see("#sandbox-state [data-state=events]", "0")
		require.Empty(t, srv.Events())
	})
}

func TestSandboxProfile(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		srv := chargetest.New(t)
		p := open(t, v, srv.InspectorURL())
		p.see("#list-empty", "")
		p.press("4")
		p.see("#profile-form", "")
		require.Equal(t, 201, charge(srv, event("short", "cust_1")))
		p.click("#profile-form [data-quirk=min_reference_length]", "")
		p.result("on")
		require.Equal(t, 10, srv.Quirks().MinReferenceLength)
		require.Equal(t, 400, charge(srv, event("short-2", "cust_1")))
		p.click("#profile-form [data-quirk=min_reference_length]", "")
		p.result("off")
		require.Equal(t, 201, charge(srv, event("short-2", "cust_1")))

		p.set("#catalogue-form", "customers", "cust_1")
		p.set("#catalogue-form", "products", "proi_V7EoCpciIAHibhKIxqQI")
		p.click("#catalogue-save", "")
		p.result("catalogue is saved")
		p.click("#profile-form [data-quirk=catalogue]", "")
		p.result("catalogue is on")
		require.Equal(t, 201, charge(srv, event("known-customer", "cust_1")))
		require.Equal(t, 404, charge(srv, event("unknown-customer", "cust_2")))
		p.accessible("profile")
		p.click("#tabs a", "Requests")
		p.see(".row[data-status='404']", "RESOURCES_NOT_FOUND")
		p.click("#tabs a", "Sandbox")
		p.wait(`document.querySelector('#profile-form [data-quirk=catalogue]')?.checked`)
		require.Equal(t, "cust_1", evaluate[string](p, `document.querySelector('#catalogue-form [name=customers]').value`))
	})
}

package browsertest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (p *page) openRow(status int, reference string) {
	p.t.Helper()
	p.click(fmt.Sprintf(".row[data-status='%d']", status), reference)
	p.see("#detail #detail-title", "")
}

func (p *page) annotated() (lines [][2]string) {
	p.t.Helper()
	p.see("#detail-body .violation", "")
	return evaluate[[][2]string](p, `[...document.querySelectorAll('#detail-body .violation')].map((v) => {
		let line = v.previousElementSibling;
		while (line && line.matches('.violation')) line = line.previousElementSibling;
		return [line?.innerText.trim() ?? '', v.dataset.field + ' ' + v.innerText.trim()];
	})`)
}

func TestDetail(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		body := event("order-1", "cust_1", `"description":"GPU  hours"`, `"value":{"number":"1.50"}`)
		h.ingest(201, body, "Authorization", "Bearer secret-token-012345", "X-Trace", "trace-7", "Cookie", "session=cookie-secret", "X-Request-Id", "my-request-1")
		p := open(t, v, h.link(adaKey))
		p.openRow(201, "order-1")
		p.see("#detail", "my-request-1")
		p.accessible("detail")
		p.tabStops("detail")
		html := evaluate[string](p, `document.documentElement.outerHTML`)
		for _, secret := range []string{adaKey, "secret-token", "cookie-secret"} {
			require.NotContains(t, html, secret)
		}
		p.reveal("#request-headers")
		require.Regexp(t, `(?i)x-api-key:?\s*•+`, p.text("#request-headers"))
		require.Contains(t, p.text("#request-headers"), "trace-7")
		p.reveal("#response-headers")
		require.Contains(t, p.text("#response-headers"), "my-request-1")

		p.see("#detail-body .line", `"reference": "order-1"`)
		require.Contains(t, p.text("#detail-response"), `"object_type": "CHARGE_DATA"`)
		p.click("#detail-body [data-view=raw]", "")
		p.wait(`document.querySelector('#detail-body [data-view=raw]').getAttribute('aria-pressed') === 'true'`)
		require.Contains(t, evaluate[string](p, `document.querySelector('#detail-body').textContent`), body)
		p.accessible("raw")
		p.click("#detail-body [data-view=pretty]", "")
		p.see("#detail-body .line", `"number": "1.50"`)
		address := p.location()
		p.click("#close-detail", "")
		p.seeNot("#detail", "")
		p.navigate(address)
		p.see("#detail", "my-request-1")
		p.do(reload)
		p.see("#detail", "my-request-1")

		h.ingest(201, event("order-2", "cust_1"))
		if !v.mobile {
			p.see(".row[data-id], #new-requests", "")
		}
		p.see("#detail", "my-request-1")
	})
}

func (p *page) reveal(selector string) {
	p.t.Helper()
	evaluate[bool](p, fmt.Sprintf(`(() => { const d = document.querySelector(%q); const c = d.matches('details') ? d : d.closest('details') ?? d.querySelector('details');
		if (c && !c.open) c.querySelector('summary').click(); return true; })()`, selector))
	p.see(selector, "")
}

func TestViolations(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		cases := []struct {
			name, path, body string
			want             [][2]string
		}{
			{"wrong-type", endpoint, event("wrong-type", "cust_1", `"value":{"number":12.5}`), [][2]string{{`"number": 12.5`, "value.number"}}},
			{"several", endpoint, event("several", "cust_1", `"value":{"number":1,"amount":{"quantity":2,"currency":"eur"}},"timestamp":"yesterday"`), [][2]string{
				{`"number": 1`, "value.number"}, {`"quantity": 2`, "value.amount.quantity"}, {`"currency": "eur"`, "value.amount.currency"}, {`"timestamp": "yesterday"`, "timestamp"},
			}},
			{"missing-1", endpoint, strings.Replace(event("missing-1", "cust_1"), `"pricing_id":"pric_as4YcnSsQnxgTWPpjKXS",`, "", 1), [][2]string{{"{", "pricing_id"}}},
			{"missing-2", endpoint, event("missing-2", "cust_1", `"value":{"amount":{"quantity":"2"}}`), [][2]string{{`"amount": {`, "value.amount.currency"}}},
			{"one-line", endpoint, event("one-line", "cust_1", `"value":{"amount":{}}`), [][2]string{
				{`"amount": {}`, "value.amount.quantity"}, {`"amount": {}`, "value.amount.currency"},
			}},
			{"batch-0", endpoint + "s", batch(event("batch-0", "cust_1"), event("batch-1", "cust_1", `"valeu":{}`), event("batch-2", "cust_1", `"value":{"number":"1e3"}`)), [][2]string{
				{`"valeu": {}`, "charge_datas.1.valeu"}, {`"number": "1e3"`, "charge_datas.2.value.number"},
			}},
			{"no-json", endpoint, `{"reference":"no-json","value":{},}`, [][2]string{{`"value": {},`, ""}}},
		}
		for _, c := range cases {
			status, response := h.send("POST", c.path, c.body)
			require.Equal(t, 400, status, response)
		}
		p := open(t, v, h.link(adaKey))
		p.rowCount(len(cases))
		for _, c := range cases {
			p.openRow(400, c.name)
			p.see("#detail-body", c.name)
			found := p.annotated()
			require.Len(t, found, len(c.want), "%s: %q", c.name, found)
			for _, want := range c.want {
				assert.True(t, slices.ContainsFunc(found, func(f [2]string) bool {
					return strings.Contains(f[0], want[0]) && strings.HasPrefix(f[1], want[1]+" ")
				}), "%s: %q not in %q", c.name, want, found)
			}
			require.Len(t, p.texts("#violations li, #violations tbody tr"), len(c.want), c.name)
			p.accessible(c.name)
			p.click("#close-detail", "")
			p.seeNot("#detail", "")
		}
	})
}

func TestConflict(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(201, event("order-1", "cust_1", amount("10.00", "EUR"), `"description":"one"`))
		h.ingest(409, event("order-1", "cust_1", amount("10.50", "EUR"), `"description":"one"`))
		p := open(t, v, h.link(adaKey))
		p.openRow(409, "")
		p.see("#conflict", "")
		for side, want := range map[string]string{"#conflict-sent": `"quantity": "10.50"`, "#conflict-stored": `"quantity": "10.00"`} {
			marked := p.texts(side + " .line[data-differs]")
			require.Len(t, marked, 1, side)
			require.Contains(t, marked[0], want)
			require.Contains(t, p.text(side), `"description": "one"`)
		}
		require.Contains(t, p.text("#conflict"), "value.amount.quantity")
		p.accessible("conflict")
		p.tabStops("conflict")
	})
}

func (p *page) clipboard(button string) string {
	p.t.Helper()
	evaluate[bool](p, `(__t.copied = '', true)`)
	p.click(button, "")
	p.wait(`__t.copied`)
	return evaluate[string](p, `__t.copied`)
}

func TestCopyAsCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl: ", err)
	}
	h := startHost(t)
	quote := strings.Replace(event("order-'1'", "cust_'$HOME`id`\\\\\\\"!", `"value":{"number":"1"}`), "order-'1'", "order-1", 1)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(event("order-gzip", "cust_é")))
	_ = w.Close()
	type sent struct {
		method, path, body string
		header             []string
		status             int
	}
	list := []sent{
		{"POST", endpoint, quote, []string{"X-Note", "it's $(id)", "Idempotency-Key", "key-1"}, 201},
		{"POST", endpoint, event("order-2", "cust_1", "\"value\":{\"number\":1},\n\"x\":\"a\\nb\""), nil, 400},
		{"POST", endpoint, zipped.String(), []string{"Content-Encoding", "gzip"}, 201},
		{"POST", endpoint + "s", batch(event("order-3", "cust_1"), event("order-4", "cust_1")), nil, 201},
		{"GET", endpoint + "?reference=order-1&limit=3", "", nil, 200},
		{"POST", endpoint, "@/etc/hostname", nil, 400},
		{"POST", endpoint, "not json \u2028 'quoted'\n", nil, 400},
	}
	var responses []string
	for _, s := range list {
		status, response := h.send(s.method, s.path, s.body, s.header...)
		require.Equal(t, s.status, status, response)
		responses = append(responses, response)
	}
	p := open(t, wide, h.link(adaKey))
	p.rowCount(len(list))
	ids := evaluate[[]string](p, `[...document.querySelectorAll('#list .row[data-id]')].sort((a, b) => a.dataset.id - b.dataset.id).map((r) => r.dataset.id)`)
	for i, s := range list {
		p.click(fmt.Sprintf(".row[data-id='%s']", ids[i]), "")
		p.see(fmt.Sprintf("#detail[data-id='%s']", ids[i]), "")
		curl := p.clipboard("#copy-curl")
		require.Contains(t, curl, "<your key>", "%d", i)
		require.NotContains(t, curl, adaKey)
		curl = strings.Replace(curl, "<your key>", adaKey, 1) + " -s -S -w '%{http_code}'"
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		output, err := exec.CommandContext(ctx, "sh", "-c", curl).Output()
		cancel()
		require.NoError(t, err, curl)
		got, status := string(output[:len(output)-3]), string(output[len(output)-3:])
		_, got, _ = strings.Cut(got, "{")
		got = "{" + got
		want := s.status
		require.Equal(t, fmt.Sprint(want), status, "%s\n%s", curl, got)
		require.Equal(t, comparable(t, responses[i]), comparable(t, got), curl)
	}
	_, listed := h.send("GET", endpoint+"?limit=1000", "")
	require.Equal(t, 4, strings.Count(listed, `"id":"chda_`))
}

var requestID = regexp.MustCompile(`reqr_\w+`)

func comparable(t *testing.T, response string) (value any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(requestID.ReplaceAllString(response, "")), &value), response)
	return value
}

func TestCopyAsJSON(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(400, event("order-1", "cust_1", `"value":{"number":12.5}`))
		p := open(t, v, h.link(adaKey))
		p.openRow(400, "")
		var copied struct {
			Status     int
			Code       string
			Body       struct{ Text string }
			Violations []struct{ Field string }
		}
		text := p.clipboard("#copy-json")
		require.NoError(t, json.Unmarshal([]byte(text), &copied), text)
		assert.Equal(t, 400, copied.Status)
		assert.Equal(t, "INVALID_FIELD", copied.Code)
		assert.Contains(t, copied.Body.Text, `"order-1"`)
		require.Len(t, copied.Violations, 1)
		assert.Equal(t, "value.number", copied.Violations[0].Field)
		assert.NotContains(t, text, adaKey)
	})
}

package browsertest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/inspector"
)

var hostileTexts = []string{
	`<script>window.__xss = 1</script>`,
	`</script><script>window.__xss = 2</script>`,
	`<img src=x onerror="window.__xss = 3">`,
	`"><svg/onload=window.__xss=4>`,
	`' autofocus onfocus='window.__xss=5`,
	`javascript:window.__xss=6`,
	`{{constructor.constructor('window.__xss=7')()}}${window.__xss=8}`,
	`__proto__`, `constructor`, `toString`, `hasOwnProperty`,
	"line\u2028separator\u2029paragraph",
	"bidi \u202egnp.exe\u202c \u2066x\u2069 \u200b\u200f\ufeff zero",
	"controls \x01\x07\x1b[31m\x7f",
	"</style></textarea></title><iframe srcdoc='<script>parent.__xss=9</script>'>",
	`<a href="data:text/html,<script>opener.__xss=10</script>">x</a>`,
	"\U0001F468\u200D\U0001F469\u200D\U0001F467 e\u0301\u0301\u0301\u0301\u0301\u0301",
	`%3Cscript%3E`, `&lt;b&gt;&amp;`, `\u003cscript\u003e`,
}

func quoteJSON(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text)
	raw := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029")
	return raw.Replace(strings.TrimSpace(b.String()))
}

func (p *page) inert(state string) {
	p.t.Helper()
	require.False(p.t, evaluate[bool](p, `'__xss' in window || '__xss' in Object.prototype`), state)
	require.Equal(p.t, 0, evaluate[int](p, `document.querySelectorAll('iframe, object, embed, main img, main script, main style, base, main [href^="javascript:" i]').length`), state)
	require.Empty(p.t, p.inlineCode(), state)
	require.Empty(p.t, evaluate[[]string](p, `__t.csp`), state)
}

func TestHostileContent(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t, func(c *inspector.Config) { c.ShowUnauthenticated = true })
		for i, text := range hostileTexts {
			name := quoteJSON(text)
			h.ingest(400, event(fmt.Sprintf("body-%02d", i), "cust_1", fmt.Sprintf(`"value":{"number":%s},%s:%s`, name, name, name)))
			h.send("POST", endpoint, event(text, text), "X-Request-Id", "hostile")
			header := strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, text)
			status, _ := h.send("GET", endpoint+"?"+encode(text)+"="+encode(text)+"&reference="+encode(text), "", "X-Custom", header, "User-Agent", header)
			require.Equal(t, 400, status)
		}
		h.ingest(201, event("stored-1", hostileTexts[2], fmt.Sprintf(`"customer_reference":%s`, quoteJSON(hostileTexts[4]))))
		p := open(t, v, h.link(adaKey))
		p.see(".row[data-id]", "stored-1")
		p.inert("list")
		p.accessible("list")
		ids := h.recorded()
		for i, text := range hostileTexts {
			p.navigate(fmt.Sprintf("%s#/requests/%d", h.page, ids[fmt.Sprintf("body-%02d", i)]))
			p.see("#detail-body", fmt.Sprintf("body-%02d", i))
			p.inert(text)
			shown := evaluate[string](p, `document.querySelector('#detail-body').textContent`)
			if strings.ContainsAny(text, "<{_") && !strings.ContainsAny(text, "\"\\\u2028") {
				assert.Contains(t, shown, text)
			}
			for _, c := range []string{"\u2028", "\u202e", "\x01", "\x1b", "\u200b"} {
				assert.NotContains(t, shown, c, "%q is invisible", c)
			}
			p.click("#detail-body [data-view=raw]", "")
			p.inert(text)
			require.NotEmpty(t, p.clipboard("#copy-curl"))
			p.inert(text)
			p.click("#close-detail", "")
			p.seeNot("#detail", "")
		}
		p.filter("text", hostileTexts[0])
		p.see(".row[data-id]", "")
		p.inert("filter")
		p.click("#tabs a", "Events")
		p.see("#events-table tbody tr", "stored-1")
		p.inert("events")
		p.click("#events-table tbody tr", "stored-1")
		p.see("#event-detail", hostileTexts[2])
		p.inert("event")
		p.accessible("event")
		p.click("#tabs a", "Overview")
		p.see("#overview-refusals", "")
		p.inert("overview")
		p.accessible("overview")
	})
}

func (h *host) recorded() map[string]int64 {
	h.t.Helper()
	_, response := h.send("GET", prefix+"api/requests?limit=1000", "")
	var found struct {
		Requests []struct {
			ID         int64
			References []string
		}
	}
	require.NoError(h.t, json.Unmarshal([]byte(response), &found))
	ids := make(map[string]int64)
	for _, r := range found.Requests {
		for _, reference := range r.References {
			ids[reference] = r.ID
		}
	}
	return ids
}

func encode(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func TestHostileAddress(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.link(adaKey))
	p.see(".row[data-id]", "order-1")
	p.expect(`40[04]`)
	hashes := []string{
		"#/requests?text=", "#/requests?status=", "#/requests/", "#/requests?" + encode(hostileTexts[0]) + "=", "#/events?reference=",
		"#/events/", "#/overview?platform=", "#/", "#",
	}
	for i, text := range append(hostileTexts, hostileTexts[0]) {
		for j := range 3 {
			hash := hashes[(3*i+j)%len(hashes)]
			p.navigate(h.page + hash + encode(text))
			p.see("#tabs a", "Requests")
		}
		p.inert(text)
	}
	p.navigate(h.page + "#/requests/%E0%A4%A")
	p.see("#tabs a", "Requests")
	p.navigate(h.page + "#/requests")
	p.see(".row[data-id]", "order-1")
}

func TestHostileBodies(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t, func(c *inspector.Config) { c.MaxBodyBytes = 4 << 20 })
		send := func(status int, path, body string, header ...string) {
			got, response := h.send("POST", path, body, header...)
			require.Equal(t, status, got, response)
		}
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = w.Write(bytes.Repeat([]byte("A"), 3<<20))
		_ = w.Close()
		many := make([]string, 1000)
		for i := range many {
			many[i] = event(fmt.Sprintf("many-%03d", i), "cust_1")
		}
		many[999] = event("many-999", "cust_1", `"value":{"number":1}`)
		cases := []struct{ name, path, body, header string }{
			{"a megabyte in one field", endpoint, event("megabyte", "cust_1", `"description":"`+strings.Repeat("A", 1<<20)+`"`), ""},
			{"a megabyte of lines", endpoint, event("lines", "cust_1", `"x":[`+strings.Repeat("1,", 1<<18)+`1]`), ""},
			{"invalid UTF-8", endpoint, "{\"reference\":\"\xff\xfe\xc3\x28 <script>window.__xss=1</script>\"}", ""},
			{"a thousand events", endpoint + "s", batch(many...), ""},
			{"deep nesting", endpoint, strings.Repeat(`{"a":[`, 5000) + strings.Repeat(`]}`, 5000), ""},
			{"no JSON", endpoint, "<!doctype html><script>window.__xss=1</script>", ""},
			{"a gzip bomb", endpoint, zipped.String(), "gzip"},
			{"broken gzip", endpoint, "not gzip", "gzip"},
			{"duplicate names", endpoint, `{"__proto__":{"__xss":1},"constructor":1,"__proto__":2}`, ""},
			{"a huge number", endpoint, `{"value":{"number":1e1000001}}`, ""},
		}
		for _, c := range cases {
			header := []string{"X-Case", c.name}
			if c.header != "" {
				header = append(header, "Content-Encoding", c.header)
			}
			send(400, c.path, c.body, header...)
		}
		p := open(t, v, h.link(adaKey))
		p.rowCount(len(cases))
		ids := evaluate[[]string](p, `[...document.querySelectorAll('#list .row[data-id]')].sort((a, b) => a.dataset.id - b.dataset.id).map((r) => r.dataset.id)`)
		for i, c := range cases {
			evaluate[bool](p, `(__t.longTasks.length = 0, true)`)
			p.click(fmt.Sprintf(".row[data-id='%s']", ids[i]), "")
			p.see(fmt.Sprintf("#detail[data-id='%s'] #detail-body", ids[i]), "")
			p.inert(c.name)
			nodes := evaluate[int](p, `document.querySelectorAll('*').length`)
			t.Logf("%s: %d elements, long tasks %v ms", c.name, nodes, evaluate[[]int](p, `__t.longTasks`))
			assert.Less(t, nodes, 20_000, c.name)
			assert.Less(t, evaluate[int](p, `document.body.textContent.length`), 2<<20, c.name)
			require.LessOrEqual(t, evaluate[int](p, `document.scrollingElement.scrollWidth - document.documentElement.clientWidth`), 0, c.name)
			if c.name == "a thousand events" {
				p.see("#violations", "charge_datas.999.value.number")
			}
			if c.name != "a thousand events" && c.name != "a megabyte of lines" {
				p.accessible(c.name)
			}
			p.click("#close-detail", "")
			p.seeNot("#detail", "")
		}
		h.ingest(201, event("still-alive", "cust_1"))
		p.away()
		p.see(".row[data-id]", "still-alive")
	})
}

func TestContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	for _, path := range []string{"", "app.css", "js/main.js", "icon.svg", "api/session", "api/none"} {
		resp, err := http.Get(h.page + path)
		require.NoError(t, err)
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			require.Contains(t, policy, want, path)
		}
		require.NotContains(t, policy, "unsafe", path)
		require.Contains(t, resp.Header.Get("Cache-Control"), "no-store", path)
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), path)
		require.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"), path)
	}
	p := open(t, wide, h.link(adaKey))
	p.see("#list-empty", "")
	p.inert("before")
	p.expect(`(?i)csp|security|Trusted|EvalError`)
	evaluate[bool](p, `(() => {
		const script = document.createElement('script');
		try { script.textContent = 'window.__planted = 1'; document.body.append(script); } catch {}
		const image = document.createElement('img');
		try { image.setAttribute('onerror', 'window.__planted = 2'); } catch {}
		image.src = 'data:,';
		document.body.append(image);
		const remote = document.createElement('script');
		try { remote.src = 'data:text/javascript,window.__planted=3'; document.body.append(remote); } catch {}
		try { document.body.insertAdjacentHTML('beforeend', '<b id="planted">x</b>'); } catch {}
		setTimeout(() => (0, eval)('window.__planted = 4'));
		return true;
	})()`)
	p.wait(`__t.csp.length >= 3`)
	require.False(t, evaluate[bool](p, `'__planted' in window || !!document.querySelector('#planted')`))
	require.Equal(t, "blocked", evaluate[string](p, `fetch('https://example.com/').then(() => 'sent', () => 'blocked')`))

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>other</title><link rel="icon" href="data:,"><iframe src=%q></iframe>`, h.page)
	}))
	t.Cleanup(other.Close)
	frame := open(t, wide, other.URL)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Contains(c, strings.Join(frame.unexpected(), "\n"), "frame-ancestors")
	}, timeout, 20*time.Millisecond)
	frame.expect(`frame|ERR_BLOCKED`)
}

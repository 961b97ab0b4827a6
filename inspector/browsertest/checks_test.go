package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestChecks(t *testing.T) {
	t.Parallel()
	serve := func(html string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, html)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	bad := open(t, wide, serve(`<!doctype html><html><head><title></title><meta name="viewport" content="user-scalable=no"><link rel="icon" href="data:,">
		<style>p{color:#999;background:#fff} .tiny{font-size:9px} input{border:1px solid #eee;color:#bbb;background:#fff}</style></head><body>
		<div id="a"></div><div id="a"></div><h2>two</h2><h4></h4><input placeholder="search"><button tabindex="3" style="width:10px;height:10px;padding:0"></button>
		<a href="#" aria-label="other words">visible words <button>in</button></a><label for="gone">for</label><div aria-hidden="true"><button>x</button></div>
		<div role="tab">tab</div><div role="option" tabindex="0">option</div><img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" width="30" height="30">
		<svg width="20" height="20"><rect width="9" height="9"/></svg><svg width="20" height="20" role="img" aria-label="bar"><rect width="9" height="9" fill="#eee"/></svg>
		<table><tr><td>cell</td></tr></table><table><caption>c</caption><tr><th></th></tr></table><p>grey</p><p class="tiny">tiny</p>
		<div style="width:3000px">wide</div></body></html>`))
	found := strings.Join(evaluate[[]string](bad, checks), "\n")
	for _, rule := range []string{"lang", "title", "viewport", "duplicate id", "for without target", "one main landmark", "no banner", "one h1",
		"skipped heading level", "empty heading", "tabindex above 0", "focusable but hidden from readers", "nested control", "field without label",
		"label without the visible text", "tab:", "option outside a listbox", "img without alt", "svg neither named nor hidden", "table without name",
		"table without header cells", "empty header cell", "header cell without scope", "target below 24 px", "page scrolls to the side",
		"outside the viewport", "text below 11 px", "contrast of text", "contrast of a field", "contrast of the border", "contrast of graphics"} {
		assert.Contains(t, found, rule)
	}
	assert.NotEmpty(t, bad.unnamed())
	assert.Contains(t, bad.inlineCode(), "STYLE STYLE")

	good := open(t, narrowDark, serve(`<!doctype html><html lang="en"><head><title>t</title><meta name="viewport" content="width=device-width"><link rel="icon" href="/i">
		<meta name="color-scheme" content="light dark"></head><body><header><h1>one</h1></header><main><h2>two</h2><p>text</p>
		<label for="f">field</label><input id="f" class="f"><table><caption>c</caption><thead><tr><th>h</th></tr></thead><tr><td>d</td></tr></table></main></body></html>`))
	evaluate[bool](good, `(document.querySelector('input').style.cssText = 'min-height: 24px; border: 2px solid #ccc', true)`)
	good.accessible("a good page")
	assert.Len(t, good.tabStops("a good page"), 1)
}

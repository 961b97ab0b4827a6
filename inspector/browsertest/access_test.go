package browsertest

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:embed checks.js
var checks string

func (p *page) accessible(state string) {
	p.t.Helper()
	assert.Empty(p.t, evaluate[[]string](p, checks), state)
	assert.Empty(p.t, p.unnamed(), "%s: roles without an accessible name", state)
	assert.Empty(p.t, p.inlineCode(), state)
}

func (p *page) inlineCode() []string {
	return evaluate[[]string](p, `[...document.querySelectorAll('*')].flatMap((el) => {
		const bad = [...el.attributes].filter((a) => /^on/i.test(a.name) || ['src', 'srcdoc', 'href', 'action', 'formaction', 'data', 'style'].includes(a.name) && /^\s*(javascript|data|blob):/i.test(a.value));
		if ((el.tagName === 'SCRIPT' || el.tagName === 'STYLE') && el.textContent.trim()) bad.push({ name: el.tagName });
		return bad.map((a) => el.tagName + ' ' + a.name);
	})`)
}

func (p *page) unnamed() (found []string) {
	p.t.Helper()
	needName := []string{"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "switch", "tab", "tabpanel",
		"menuitem", "option", "listbox", "table", "grid", "dialog", "image", "img", "spinbutton", "slider", "heading", "RootWebArea", "progressbar", "region"}
	text := func(v *accessibility.Value) (s string) {
		if v != nil {
			_ = json.Unmarshal(v.Value, &s)
		}
		return s
	}
	tree := command(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	for _, n := range tree.Nodes {
		if role := text(n.Role); !n.Ignored && slices.Contains(needName, role) && strings.TrimSpace(text(n.Name)) == "" {
			found = append(found, role+" "+string(n.NodeID))
		}
	}
	require.Greater(p.t, len(tree.Nodes), 5)
	return found
}

func (p *page) tabStops(state string) (stops []string) {
	p.t.Helper()
	evaluate[bool](p, `(document.activeElement?.blur(), window.scrollTo(0, 0), true)`)
	for range 120 {
		p.press(kb.Tab)
		stop := evaluate[struct {
			Name, Problem string
			End           bool
		}](p, `(() => {
			const el = document.activeElement;
			if (!el || el === document.body) return { End: true };
			const Name = el.tagName.toLowerCase() + (el.id ? '#' + el.id : '') + ' ' + (el.getAttribute('aria-label') ?? el.innerText ?? '').slice(0, 30);
			const end = window.__firstStop === el;
			window.__firstStop ??= el;
			const s = getComputedStyle(el), box = el.getBoundingClientRect();
			let Problem = '';
			const outlined = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1;
			if (!outlined && s.boxShadow === 'none') Problem = 'no outline';
			if (outlined && window.__contrast && s.outlineStyle !== 'auto') {
				const behind = __contrast.background(parseFloat(s.outlineOffset) < 0 ? el : el.parentElement);
				const r = __contrast.ratio(__contrast.over(__contrast.rgba(s.outlineColor), behind), behind);
				if (r < 3) Problem = 'outline contrast ' + r.toFixed(2);
			}
			if (box.width === 0 || box.height === 0) Problem = 'focus on something invisible';
			if (box.bottom < 0 || box.top > innerHeight) Problem = 'focus outside the viewport';
			return { Name, Problem, End: end };
		})()`)
		if stop.End {
			break
		}
		stops = append(stops, stop.Name)
		assert.Empty(p.t, stop.Problem, "%s: %s", state, stop.Name)
	}
	evaluate[bool](p, `delete window.__firstStop`)
	return stops
}

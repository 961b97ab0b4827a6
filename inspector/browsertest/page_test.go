package browsertest

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

const timeout = 25 * time.Second

//go:embed instrument.js
var instrument string

type view struct {
	name          string
	width, height int64
	scale         float64
	mobile, dark  bool
}

var (
	wide       = view{"wide", 1280, 900, 1, false, false}
	wideDark   = view{"wide-dark", 1280, 900, 1, false, true}
	narrow     = view{"narrow", 390, 844, 1, true, false}
	narrowDark = view{"narrow-dark", 390, 844, 1, true, true}
)

func inViews(t *testing.T, test func(t *testing.T, v view), views ...view) {
	if len(views) == 0 {
		views = []view{wide, narrowDark}
	}
	for _, v := range views {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}

// page fails at the end of the test for unexpected errors on the console and failed requests.
type page struct {
	t    *testing.T
	ctx  context.Context
	view view

	mu       sync.Mutex
	problems []string
	expected []*regexp.Regexp
	requests map[network.RequestID]string
}

func open(t *testing.T, v view, url string) *page {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	p := &page{t: t, ctx: ctx, view: v, requests: make(map[network.RequestID]string)}
	require.NoError(t, chromedp.Do(ctx))
	t.Cleanup(cancel)
	t.Cleanup(p.finish)
	require.NoError(t, chromedp.Listen(ctx, p.listen))
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(v.scale)}
	if v.mobile {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulatePortrait, chromedp.EmulateTouch)
	}
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(v.width, v.height, options...)))
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	command(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	command(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	command(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	command(p, network.Enable, network.EnableParams{})
	command(p, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: instrument})
	p.navigate(url)
	return p
}

func command[P, R any](p *page, c cdp.Command[P, R], params P) R {
	p.t.Helper()
	result, err := chromedp.Call(p.ctx, c, params)
	require.NoError(p.t, err, c.Method)
	return result
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*timeout)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

func (p *page) navigate(url string) {
	p.t.Helper()
	p.do(chromedp.Navigate(url))
}

func evaluate[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*timeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return value
}

func (p *page) wait(condition string) {
	p.t.Helper()
	script := fmt.Sprintf(`(async () => {
		const end = performance.now() + %d;
		let last;
		for (;;) {
			try { if (%s) return ''; last = undefined; } catch (e) { last = e; }
			if (performance.now() > end) return 'timeout ' + (last ?? '');
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
	})()`, timeout.Milliseconds(), condition)
	ctx, cancel := context.WithTimeout(p.ctx, 3*timeout)
	defer cancel()
	for {
		problem, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
		if err != nil && ctx.Err() == nil && navigated.MatchString(err.Error()) {
			continue
		}
		require.NoError(p.t, err, condition)
		require.Empty(p.t, problem, condition)
		return
	}
}

var navigated = regexp.MustCompile(`context was destroyed|Cannot find context|navigated or closed|promise was collected`)

func (p *page) see(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`__t.find(%q, %q)`, selector, text))
}

func (p *page) seeNot(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`!__t.find(%q, %q)`, selector, text))
}

func (p *page) texts(selector string) []string {
	p.t.Helper()
	return evaluate[[]string](p, fmt.Sprintf(`__t.text(%q)`, selector))
}

func (p *page) text(selector string) string {
	p.t.Helper()
	p.see(selector, "")
	return p.texts(selector)[0]
}

func (p *page) click(selector, text string) {
	p.t.Helper()
	type target struct{ X, Y float64 }
	find := func() target {
		p.t.Helper()
		p.wait(fmt.Sprintf(`(__t.last = __t.target(%q, %q)) && !__t.last.problem || (() => { throw __t.last.problem; })()`, selector, text))
		return evaluate[target](p, `__t.last`)
	}
	at := find()
	p.do(chromedp.MouseEvent("mouseMoved", at.X, at.Y))
	at = find() // the list moves only while the pointer is elsewhere
	p.do(chromedp.MouseClickXY(at.X, at.Y))
}

func (p *page) enter(selector, text string) {
	p.t.Helper()
	p.click(selector, "")
	p.do(chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)), chromedp.KeyEvent(kb.Delete))
	p.do(chromedp.KeyEvent(text))
}

func (p *page) choose(selector, value string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`[...__t.find(%[1]q).options].some((o) => o.value === %[2]q)`, selector, value))
	steps := evaluate[int](p, fmt.Sprintf(`(() => { const e = __t.find(%q); e.focus();
		return [...e.options].findIndex((o) => o.value === %q) - e.selectedIndex; })()`, selector, value))
	key := kb.ArrowDown
	if steps < 0 {
		key, steps = kb.ArrowUp, -steps
	}
	p.do(chromedp.KeyEvent(strings.Repeat(key, steps)))
	p.wait(fmt.Sprintf(`__t.find(%q)?.value === %q`, selector, value))
}

func (p *page) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

func (p *page) location() string { return evaluate[string](p, `location.href`) }

var reload = chromedp.Reload()

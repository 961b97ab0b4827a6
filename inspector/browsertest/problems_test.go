package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

func (p *page) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(format string, a ...any) { p.problems = append(p.problems, fmt.Sprintf(format, a...)) }
	switch ev := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" || ev.Type == "warning" || ev.Type == "assert" {
			var text []string
			for _, a := range ev.Args {
				text = append(text, string(a.Value)+a.Description)
			}
			add("console.%s %s", ev.Type, strings.Join(text, " "))
		}
	case *runtime.EventExceptionThrown:
		d := ev.ExceptionDetails
		description := ""
		if d.Exception != nil {
			description = d.Exception.Description
		}
		add("exception %s %s %s:%d", d.Text, description, d.URL, d.LineNumber)
	case *log.EventEntryAdded:
		if ev.Entry.Level == "error" || ev.Entry.Level == "warning" {
			add("log %s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		p.requests[ev.RequestID] = ev.Request.Method + " " + ev.Request.URL
	case *network.EventResponseReceived:
		if ev.Response.Status >= 400 {
			add("status %d %s", ev.Response.Status, p.requests[ev.RequestID])
		}
	case *network.EventLoadingFailed:
		if !ev.Canceled {
			add("failed %s %s %s", ev.ErrorText, ev.BlockedReason, p.requests[ev.RequestID])
		}
	}
}

func (p *page) expect(pattern string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, regexp.MustCompile(pattern))
}

func (p *page) unexpected() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.problems), func(problem string) bool {
		return slices.ContainsFunc(p.expected, func(e *regexp.Regexp) bool { return e.MatchString(problem) })
	})
}

func (p *page) finish() {
	if csp, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](`window.__t ? __t.csp : []`)); err == nil {
		p.mu.Lock()
		for _, v := range csp {
			p.problems = append(p.problems, "csp "+v)
		}
		p.mu.Unlock()
	}
	for _, problem := range p.unexpected() {
		p.t.Errorf("the page: %s", problem)
	}
	if p.t.Failed() {
		p.save()
	}
}

func (p *page) save() {
	name := filepath.Join(*artifacts, strings.NewReplacer("/", "-", " ", "_").Replace(p.t.Name()))
	if err := os.MkdirAll(*artifacts, 0o755); err != nil {
		p.t.Log(err)
		return
	}
	if png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot()); err == nil {
		err = os.WriteFile(name+".png", png, 0o644)
		p.t.Logf("saved %s.png and .txt (%v)", name, err)
	}
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`location.href + "\n\n" + document.body.innerText`))
	if err == nil {
		err = os.WriteFile(name+".txt", []byte(text), 0o644)
	}
	if err != nil {
		p.t.Log(err)
	}
}

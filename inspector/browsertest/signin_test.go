package browsertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
)

func (p *page) keepsSecret(key string) {
	p.t.Helper()
	assert.NotContains(p.t, p.location(), key)
	stored := evaluate[[]string](p, `[JSON.stringify({ ...localStorage }), document.cookie, document.documentElement.outerHTML,
		...[...document.querySelectorAll('input')].map((i) => i.value), JSON.stringify(history.state), JSON.stringify(performance.getEntriesByType('resource'))]`)
	assert.NotContains(p.t, strings.Join(stored, "\n"), key)
	assert.Equal(p.t, 1, evaluate[int](p, fmt.Sprintf(`Object.values(sessionStorage).filter((v) => v.includes(%q)).length`, key)))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, request := range p.requests {
		assert.NotContains(p.t, strings.SplitN(request, "#", 2)[0], key)
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(201, event("order-1", "cust_1"))
		p := open(t, v, h.link(adaKey))
		p.see("#tab-requests .row[data-id]", "order-1")
		p.keepsSecret(adaKey)
		p.do(reload)
		p.see("#tab-requests .row[data-id]", "order-1")
		p.click("#sign-out", "")
		p.see("#sign-in", "")
		require.Equal(t, 0, evaluate[int](p, `sessionStorage.length`))
		require.NotContains(t, evaluate[string](p, `document.body.innerText`), "order-1")
		p.expect(`401`)
		p.do(reload)
		p.see("#sign-in", "")
		p.accessible("sign-in form")
		p.tabStops("sign-in form")

		for _, wrong := range []string{"wrong-key-0123456789", "<script>alert(1)</script>", "schlüssel"} {
			p.enter("#key", wrong)
			p.press("\r")
			p.wait(`document.querySelector('#sign-in-error')?.innerText.trim()`)
			require.Equal(t, 0, evaluate[int](p, `sessionStorage.length`))
			evaluate[bool](p, `(document.querySelector('#sign-in-error').textContent = '', true)`)
		}
		p.enter("#key", adaKey)
		p.click("#sign-in button", "Sign in")
		p.see("#tab-requests .row[data-id]", "order-1")
		p.keepsSecret(adaKey)
	})
}

func TestSignInWithoutPermission(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	p := open(t, wide, h.page+"#key="+jobKey)
	p.expect(`403`)
	p.see("#main", "METER_DATA.VIEW")
	p.accessible("no permission")
	p.click("button", "Use another key")
	p.enter("#key", bobKey)
	p.press("\r")
	p.see("#tab-requests", "")
}

func TestHostLogin(t *testing.T) {
	t.Parallel()
	h := startHost(t, func(c *inspector.Config) {
		c.Authorizer = chargeingest.AuthorizerFunc(anyone)
	})
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, wide, h.page)
	p.see(".row[data-id]", "order-1")
	p.seeNot("#sign-out", "")
	require.Equal(t, 0, evaluate[int](p, `sessionStorage.length`))
}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		h := startHost(t)
		h.ingest(201, event("of-default", "cust_1"))
		h.ingest(201, event("of-acme", "cust_1"), "X-Platform-Id", "acme")
		h.ingest(401, event("of-nobody", "cust_1"), "X-Api-Key", "wrong")
		p := open(t, v, h.link(adaKey))
		p.see(".row[data-id]", "of-default")
		require.Len(t, p.texts(".row[data-id]"), 1)
		p.choose("#platform", "acme")
		p.see(".row[data-id]", "of-acme")
		require.Len(t, p.texts(".row[data-id]"), 1)
		require.Contains(t, p.location(), "platform=acme")
		h.ingest(201, event("of-acme-2", "cust_1"), "X-Platform-Id", "acme")
		p.see(".row[data-id]", "of-acme-2")
		p.click("#tabs a", "Events")
		p.see("#events-table tbody tr", "of-acme-2")
		p.seeNot("#events-table tbody tr", "of-default")
		p.do(reload)
		p.see("#events-table tbody tr", "of-acme")
		p.seeNot("#events-table tbody tr", "of-default")
		p.choose("#platform", "default")
		p.see("#events-table tbody tr", "of-default")
		p.seeNot("#events-table tbody tr", "of-acme")
		p.accessible("events")

		bob := open(t, v, h.link(bobKey))
		bob.see(".row[data-id]", "of-acme-2")
		require.Len(t, bob.texts(".row[data-id]"), 2)
		bob.seeNot("#platform", "")
	})
}

func TestShowUnauthenticated(t *testing.T) {
	t.Parallel()
	h := startHost(t, func(c *inspector.Config) { c.ShowUnauthenticated = true })
	h.ingest(401, event("of-nobody", "cust_1"), "X-Api-Key", "wrong-key-0123456789")
	p := open(t, wide, h.link(adaKey))
	p.click(".row[data-status='401']", "")
	p.see("#detail", "UNAUTHORISED")
	require.NotContains(t, evaluate[string](p, `document.documentElement.outerHTML`), "wrong-key")
}

func TestRotatedKey(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.ingest(201, event("order-1", "cust_1"))
	p := open(t, narrow, h.link(adaKey))
	p.see(".row[data-id]", "order-1")
	p.wait(`document.querySelector('#connection').dataset.state === 'live'`)
	p.expect(`401`)
	rotated := append([]chargeingest.Key(nil), testKeys...)
	rotated[0].Secret = "new-key-of-ada-0123456789"
	require.NoError(t, h.keys.Replace(rotated...))
	h.ingest(201, event("order-2", "cust_1"), "X-Api-Key", rotated[0].Secret)
	p.see("#sign-in-error", "")
	require.NotContains(t, evaluate[string](p, `document.body.innerText`), "order-1")
	require.Equal(t, 0, evaluate[int](p, `sessionStorage.length`))
	p.accessible("signed out")
	p.enter("#key", rotated[0].Secret)
	p.press("\r")
	p.see(".row[data-id]", "order-2")
	p.keepsSecret(rotated[0].Secret)
}

package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHarness(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><title>t</title><link rel="icon" href="data:,"><p>shown</p><script>window.planted = 1</script><script src="bad.js"></script>`)
	})
	mux.HandleFunc("/bad.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, `console.warn('one warning'); fetch('missing'); fetch('cut').catch(() => {}); document.querySelector('p').setAttribute('style', 'color: red');
			try { document.querySelector('p').innerHTML = '<b>x</b>' } catch {} ; setTimeout(() => { throw new Error('thrown') }); window.last = true`)
	})
	mux.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p := open(t, wide, server.URL)
	p.see("p", "shown")
	planted := []string{`one warning`, `status 404 GET .*missing`, `failed .* GET .*cut`, `exception .*thrown`, `log security: .*inline`}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found := p.unexpected()
		for _, pattern := range planted {
			assert.True(c, slices.ContainsFunc(found, regexp.MustCompile(pattern).MatchString), "%s in %q", pattern, found)
		}
	}, timeout, 20*time.Millisecond)
	require.False(t, evaluate[bool](p, `'planted' in window`))
	require.NotEmpty(t, evaluate[[]string](p, `__t.csp`))
	p.expect(`.`)
}

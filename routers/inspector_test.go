package routers_test

import (
	"bufio"
	"log/slog"
	"net/http"
	"regexp"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
)

func exampleInspector() (*chargeingest.Handler, *inspector.Inspector) {
	store, authorizer := memstore.New(), chargeingest.AuthorizerFunc(authorizeUser)
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: authorizer, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	page, err := inspector.New(inspector.Config{Reader: store, Authorizer: authorizer})
	if err != nil {
		panic(err)
	}
	return h, page
}

func muxWithInspector() http.Handler {
	h, page := exampleInspector()

	mux := http.NewServeMux()
	mux.Handle("/billing/inspector/", http.StripPrefix("/billing/inspector", page))
	mux.Handle("/billing/", page.Middleware(http.StripPrefix("/billing", h)))

	return login(mux)
}

func chiWithInspector() http.Handler {
	h, page := exampleInspector()

	r := chi.NewRouter()
	r.Use(login)
	r.Handle("/billing/inspector/*", http.StripPrefix("/billing/inspector", page))
	r.Mount("/billing", page.Middleware(http.StripPrefix("/billing", h)))

	return r
}

var assetPath = regexp.MustCompile(`(?:src|href)="([^"#]+)"`)

func TestInspectorBelowPrefix(t *testing.T) {
	t.Parallel()
	for name, newHost := range map[string]func() http.Handler{"net/http": muxWithInspector, "chi": chiWithInspector} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, newHost())
			page := s.sendAny(t, s.request(t, http.MethodGet, "/billing/inspector/", ""))
			require.Equal(t, http.StatusOK, page.status)
			assets := assetPath.FindAllStringSubmatch(page.text, -1)
			require.NotEmpty(t, assets)
			for _, a := range assets {
				require.NotContains(t, "/.", a[1][:1], "the page does not know its prefix")
				asset := s.sendAny(t, s.request(t, http.MethodGet, "/billing/inspector/"+a[1], ""))
				require.Equal(t, http.StatusOK, asset.status, a[1])
			}

			stream, err := s.client.Do(s.request(t, http.MethodGet, "/billing/inspector/api/stream", ""))
			require.NoError(t, err)
			defer stream.Body.Close()
			lines := bufio.NewReader(stream.Body)
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			require.JSONEq(t, `{"newest":0}`, line)

			require.Equal(t, http.StatusCreated, s.post(t, eventPath, event("order-42", "3")).status)
			line, err = lines.ReadString('\n')
			require.NoError(t, err)
			require.NotContains(t, line, `"newest":0`)
			requests := s.sendAny(t, s.request(t, http.MethodGet, "/billing/inspector/api/requests", ""))
			require.Contains(t, requests.text, `"order-42"`)
			require.Equal(t, http.StatusUnauthorized,
				s.sendAny(t, s.request(t, http.MethodGet, "/billing/inspector/api/requests", "", "-Cookie")).status)
		})
	}
}

package routers_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/cors"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestHeadersOfCORS(t *testing.T) {
	t.Parallel()
	read, written := headersInSource(t, "..")
	except := func(names []string, rest ...string) []string {
		for _, name := range rest {
			require.Contains(t, names, name)
		}
		return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(rest, name) })
	}
	// Pages cannot set Expect.
	require.ElementsMatch(t, except(read, "Expect"), crossOrigin.AllowedHeaders)
	// Pages see Content-Type and Content-Length without this, and never Connection.
	require.ElementsMatch(t, except(written, "Connection", "Content-Length", "Content-Type"), crossOrigin.ExposedHeaders)
}

func headersInSource(t *testing.T, dir string) (read, written []string) {
	t.Helper()
	add := func(names *[]string, position string, name ast.Expr) {
		literal, ok := name.(*ast.BasicLit)
		require.True(t, ok, "%s: the header name is not a literal", position)
		text, err := strconv.Unquote(literal.Value)
		require.NoError(t, err)
		if !slices.Contains(*names, text) {
			*names = append(*names, text)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if index, ok := n.(*ast.IndexExpr); ok && selected(index.X) == "Header" {
				add(&read, set.Position(index.Pos()).String(), index.Index)
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			position := set.Position(call.Pos()).String()
			switch f.Sel.Name {
			case "setHeader":
				add(&written, position, call.Args[1])
			case "Set", "Add":
				if of, ok := f.X.(*ast.CallExpr); ok && strings.EqualFold(selected(of.Fun), "header") {
					add(&written, position, call.Args[0])
				}
			case "Get", "Values":
				if selected(f.X) == "Header" {
					add(&read, position, call.Args[0])
				}
			}
			return true
		})
	}
	return read, written
}

func selected(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return s.Sel.Name
	}
	return ""
}

func TestExposedHeadersAreSent(t *testing.T) {
	t.Parallel()
	down := chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, http.ErrServerClosed
	})
	origin := "Origin: " + crossOrigin.AllowedOrigins[0]
	wrapped := func(settings ...func(*chargeingest.Config)) server {
		return serve(t, cors.New(crossOrigin).Handler(serveMuxHost(endpointsOf(newHandler(t, settings...)), ignoreLabel)))
	}
	s := wrapped()
	s.post(t, eventsPath, batch(event("a", "1")))
	unsent := crossOrigin.ExposedHeaders
	for status, got := range map[int]response{
		http.StatusCreated:              s.post(t, eventsPath, batch(event("a", "1")), origin),
		http.StatusUnauthorized:         s.do(t, http.MethodGet, eventPath, "", origin, "Cookie: "),
		http.StatusMethodNotAllowed:     s.get(t, eventsPath, origin),
		http.StatusUnsupportedMediaType: s.post(t, eventPath, event("", "1"), origin, "Content-Encoding: br"),
		http.StatusServiceUnavailable:   wrapped(func(c *chargeingest.Config) { c.Authorizer = down }).get(t, eventPath, origin),
	} {
		require.Equal(t, status, got.status)
		require.Equal(t, crossOrigin.AllowedOrigins[0], got.header.Get("Access-Control-Allow-Origin"))
		require.Len(t, strings.Split(got.header.Get("Access-Control-Expose-Headers"), ", "), len(crossOrigin.ExposedHeaders))
		unsent = slices.DeleteFunc(slices.Clone(unsent), func(name string) bool { return got.header.Get(name) != "" })
	}
	require.Empty(t, unsent)
}

func TestCORS(t *testing.T) {
	t.Parallel()
	s := serve(t, cors.New(crossOrigin).Handler(serveMuxHost(endpointsOf(newHandler(t)), ignoreLabel)))
	requireContract(t, s)
	for _, headers := range [][]string{
		{"Origin: https://other.example", "Access-Control-Request-Method: POST"},
		{"Origin: https://shop.example", "Access-Control-Request-Method: DELETE"},
		{"Origin: https://shop.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-other"},
	} {
		require.Empty(t, s.sendAny(t, s.request(t, http.MethodOptions, eventPath, "", headers...)).header.Get("Access-Control-Allow-Origin"))
	}
}

func TestDocumentedCORS(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("cors_example_test.go")
	require.NoError(t, err)
	document, err := os.ReadFile("../docs/proxies.md")
	require.NoError(t, err)
	_, options, _ := strings.Cut(string(source), "cors.Options{")
	options, _, found := strings.Cut(options, "\n}\n")
	require.True(t, found)
	require.Contains(t, string(document), "cors.Options{"+options+"\n}")
}

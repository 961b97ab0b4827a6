package inspector

import (
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPageFiles(t *testing.T) {
	i := newViewed(t, nil)
	links := regexp.MustCompile(`(?:src|href|from|import)(?:=|\s+|\()["']([^"'#?]+\.[a-z]+)["']`)
	seen := map[string]bool{}
	var visit func(file string)
	visit = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		w := call{}.do(i, file)
		require.Equal(t, http.StatusOK, w.Code, file)
		require.Equal(t, contentTypes[path.Ext("x"+file)], w.Header().Get("Content-Type"), file)
		for _, link := range links.FindAllStringSubmatch(w.Body.String(), -1) {
			require.NotContains(t, link[1], "//", "a file of another origin")
			visit(path.Join(path.Dir(file), link[1]))
		}
	}
	visit("index.html")
	require.True(t, seen["app.css"] && seen["icon.svg"] && seen["js/main.js"], seen)
	for file := range seen {
		require.False(t, strings.HasPrefix(file, "."), file)
	}
}

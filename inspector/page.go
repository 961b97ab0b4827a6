package inspector

import (
	"embed"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"example.com/chargeingest/internal/httpapi"
)

//go:embed web/*.html web/*.css web/*.svg web/js/*.js
var webFiles embed.FS

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// ServeHTTP serves the page and its data. Mount it below any path that ends with a slash,
// and strip the path.
func (i *Inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", contentSecurityPolicy)

	name := strings.TrimPrefix(r.URL.Path, "/")
	switch first, rest, _ := strings.Cut(name, "/"); {
	case name == "":
		if target := withSlash(r); target != "" {
			redirect(w, r, target)
			return
		}
		serveFile(w, r, "index.html")
	case first == "api":
		i.api.serve(w, r, rest)
	case first == "sandbox" && i.cfg.Sandbox != nil:
		i.api.serveSandbox(w, r, rest)
	case first == "relay" && i.api.relay != nil:
		serveBelow(w, r, i.api.relay, rest)
	default:
		serveFile(w, r, name)
	}
}

// withSlash returns a relative URL, or nothing if r ends with a slash. Only RequestURI has
// the whole path.
func withSlash(r *http.Request) string {
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return ""
	}
	segment := path.Base("/" + u.EscapedPath())
	if segment == "/" || strings.HasSuffix(u.EscapedPath(), "/") {
		return ""
	}
	target := url.URL{RawQuery: u.RawQuery}
	return "./" + segment + "/" + target.String()
}

func redirect(w http.ResponseWriter, r *http.Request, target string) {
	if !allows(w, r) {
		return
	}
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	text, err := fs.ReadFile(webFiles, "web/"+name)
	if err != nil {
		httpapi.Fail(w, r, httpapi.NotFound("unknown path"))
		return
	}
	if allows(w, r) {
		httpapi.Respond(w, r, http.StatusOK, contentTypes[path.Ext(name)], text)
	}
}

func allows(w http.ResponseWriter, r *http.Request) bool {
	err := httpapi.Allow(w.Header(), r, http.MethodGet)
	if err != nil {
		httpapi.Fail(w, r, err)
	}
	return err == nil
}

package inspector

import "net/http"

// ServeHTTP serves the page and its data. Mount it below any path that ends with a slash,
// and strip the path.
func (i *Inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// Package routers shows how to mount a [chargeingest.Handler] in the common routers,
// and tests the wire contract in each. It contains only Examples to copy, and tests.
//
// # Rules for every router
//
//   - Strip the mount prefix with [http.StripPrefix].
//   - The single endpoints, such as [chargeingest.Handler.GetEvent], read the path values
//     "id" and "version". If a router has its own parameters, call
//     [http.Request.SetPathValue]. Otherwise, no event is found, and every version is 1.
//   - Put the user of your login into the request context, for the Authorizer.
//   - Patterns without a method leave the 405 to the handler.
//
// # Prefix, path values and user
//
//	             prefix                                path values         user
//	net/http     mux.Handle("/billing/", …)            set                 request context
//	chi          r.Mount("/billing", …)                set                 request context
//	gorilla/mux  r.PathPrefix("/billing/").Handler(…)  from mux.Vars(r)    request context
//	gin          r.Any("/billing/*path", gin.WrapH(…)) from c.Param        c.Request
//	echo 5       e.Any("/billing/*", WrapHandler(…))   set by WrapHandler  c.SetRequest
//	echo 4       e.Any("/billing/*", WrapHandler(…))   from c.Param        c.SetRequest
//	fiber 3      app.All("/billing/*", HTTPHandler(…)) from c.Params       c.Locals
//
// # Responses of the routers
//
//   - A path with "//" or "..": redirect in net/http (307) and gorilla/mux (301), 404 in
//     the others.
//   - The prefix without a slash: redirect in net/http and gin, 404 in the others.
//   - gin redirects between a path with and without a trailing slash.
//   - An escaped slash in an id matches no single endpoint in gorilla/mux without
//     UseEncodedPath and gin without UseRawPath.
//   - A method that the pattern does not name: 404 in gin, 405 in the others. Only
//     net/http and fiber serve HEAD for a GET pattern.
//   - Unknown methods: 405 in chi, 404 in gin, 501 in fiber. In the others the handler
//     responds.
//
// # Middleware
//
// Route labels for metrics work as usual: r.Pattern, chi's RoutePattern, gorilla/mux's
// GetPathTemplate, FullPath in gin, c.Path in echo, c.Route().Path in fiber.
//
// otelhttp, promhttp and gorilla's logging can wrap the router or the handler. Within
// StripPrefix, a trace has no prefix. otelhttp reads the route from r.Pattern, which
// gorilla/mux and gin do not set. In chi, or with a login that copies the request, otelhttp
// must be the last middleware or wrap the mounted handler.
//
// CORS middleware goes around the router and its login: see docs/proxies.md.
//
// # fiber
//
// fiber is not based on net/http, and its adaptor converts requests:
//
//   - Strings are valid only during the request. An Authorizer or Observer that keeps
//     them must clone them.
//   - Require fasthttp 1.78 or newer. Older versions drop repeated headers, and
//     http.ErrAbortHandler crashes the process.
//   - fiber reads the body before the login. Above BodyLimit (default 4 MiB) it responds
//     413 or resets the connection. It accepts every Expect: 100-continue.
//   - The last of several Content-Type headers is used.
//   - HTTP/1.1 only.
//   - Locals are values of the request context. To pass on c.SetContext, use
//     adaptor.HTTPHandlerWithContext and LocalContextFromHTTPRequest.
package routers

// Package routers shows how a [chargeingest.Handler] is mounted in other
// people's routers, and holds it to the wire contract in each of them. It has
// no code of its own: its Examples are to be copied, its tests are the proof.
//
// # What every router owes
//
// The handler sees a path without the mount prefix, and [http.StripPrefix] is
// what strips it everywhere: routers pass on the path as it came.
//
// The single endpoints ([chargeingest.Handler.IngestEvent] and its siblings)
// read the path values "id" and "version" of the request. Where a router has
// parameters of its own kind, the function that hands over calls
// [http.Request.SetPathValue]. Without it GetEvent finds no event, and a version
// in the pattern is not looked at: every one is taken for 1.
//
// The Authorizer reads the request's context. A login that keeps its user
// elsewhere puts it there too.
//
// Patterns name no method where the contract's 405 is wanted: a router answers
// another method in its own words. Most leave HEAD out of what GET serves.
//
// # What each router needs
//
//	             prefix                                path values          user
//	net/http     mux.Handle("/billing/", …)            its own              request context
//	chi          r.Mount("/billing", …)                its own              request context
//	gorilla/mux  r.PathPrefix("/billing/").Handler(…)  from mux.Vars(r)     request context
//	gin          r.Any("/billing/*path", gin.WrapH(…)) from c.Param         c.Request, beside c.Set
//	echo 5       e.Any("/billing/*", WrapHandler(…))   its own, WrapHandler c.SetRequest, beside c.Set
//	echo 4       e.Any("/billing/*", WrapHandler(…))   from c.Param         c.SetRequest, beside c.Set
//	fiber 3      app.All("/billing/*", HTTPHandler(…)) from c.Params        c.Locals, or see below
//
// # What routers answer themselves
//
//   - A path that is not clean ("//", "..") is redirected to the clean one by
//     net/http with 307 and by gorilla/mux with 301, after which clients send a
//     GET. In the others it comes to the handler, and is 404.
//   - The prefix without a slash is redirected by net/http and gin, 404 in
//     gorilla/mux and echo, and comes to the handler in chi and fiber.
//   - gin redirects between a path and the same with a slash at its end.
//   - An escaped slash within an id stays escaped below the prefix. In the
//     patterns of single endpoints gorilla/mux (unless UseEncodedPath) and gin
//     (unless UseRawPath) take it for a slash, and find no route.
//   - A method that a pattern does not name: 405 in the router's own words, 404
//     in gin. HEAD is served with GET by net/http and fiber alone.
//   - Methods that HTTP does not have come through net/http, gorilla/mux and
//     echo; chi answers 405, gin 404, fiber 501.
//
// # Metrics, traces and access logs
//
// The request comes back as it went in, with the router's own label on it:
// r.Pattern, chi's RoutePattern, gorilla/mux's GetPathTemplate, FullPath in gin,
// c.Path in echo, c.Route().Path in fiber. otelhttp, promhttp and gorilla's
// logging handlers may be wrapped around the router or around the handler. The
// log has the whole path in both places; the trace has what is left of it
// within the StripPrefix.
//
// otelhttp takes the route from r.Pattern. net/http, chi and echo set it;
// gorilla/mux and gin do not. It is lost where something between otelhttp and
// the router hands on a copy of the request (r.WithContext), as a login does
// and chi itself: there otelhttp is the last of chi's middlewares, or within
// the Mount. The store and the Observer are called in the span.
//
// # CORS
//
// Middleware for CORS is around the router and its login, as in the Example with
// github.com/rs/cors. docs/proxies.md has the headers.
//
// # fiber
//
// fiber is no net/http server; its adaptor makes a request out of a request:
//
//   - The memory of a request is written over by the next. The handler keeps
//     none of it; an Authorizer that keeps texts of a request clones them, and
//     so does an Observer that keeps the method or the request ID.
//   - fasthttp 1.78 or newer, which fiber 3.1.0 does not require by itself. The
//     adaptor of older ones hands over the last of a header that is sent twice,
//     and an http.ErrAbortHandler is a panic of the whole process.
//   - A body is read whole before anybody is asked who is sending it, and one
//     above fiber's BodyLimit (4 MiB unless set) is answered 413 by fiber,
//     or by a connection that is reset.
//     An Expect: 100-continue is granted to everybody.
//   - Of a Content-Type that is sent twice the last counts.
//   - HTTP/1.1 alone.
//   - Locals are values of the request's context. Those of c.SetContext, as of
//     middleware for traces, come by adaptor.HTTPHandlerWithContext and
//     LocalContextFromHTTPRequest.
package routers

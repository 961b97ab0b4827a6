// Package chargeingest is an HTTP endpoint that receives billing charge events and
// never loses one that it has acknowledged.
//
// A [Handler] is an [http.Handler] for your server:
//
//	store, err := sqlitestore.Open(ctx, "charges.db")
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
//	mux.Handle("/billing/", http.StripPrefix("/billing", h))
//
// It authorizes the caller, validates the events against the JSON Schema in package
// schema, stores all events of a request or none, and responds with 201 when the
// store's durability guarantee holds.
//
// # Parts
//
// An [Authorizer] decides who may do what: [Keys] for API keys, [AuthorizerFunc] for
// your own login, [FirstOf] for several, or package jwtauth.
//
// An [EventStore] keeps the events: packages sqlitestore, pgstore and memstore, or
// your own, built with package storekit and checked by package storetest.
//
// [Handler.Ingest] stores events without HTTP. Package chargetest runs the endpoint
// in tests of clients.
//
// # Duplicates
//
// An event whose reference is already stored is not stored again. With equal content
// the response has the stored event; with different content it is a 409. An
// Idempotency-Key does the same for a request whose events have no references. Both
// are decided in the transaction that stores.
//
// # Errors
//
// An [*Error] has a status, a [Code], a message for the client, and every
// [Violation]. A 5xx reports whether a retry is safe: 503 with a Retry-After if it
// is, 500 if the outcome is unknown.
//
// # Logs
//
// Each request writes one line to [Config.Logger]: failures at Error, rejections at
// Info, successes at Debug, which [slog.Default] drops. No line has a credential or a
// body. [Config.Observer] receives all requests.
package chargeingest

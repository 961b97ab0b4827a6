// Package chargeingest is an HTTP endpoint that receives billing charge events and never
// loses an event it has acknowledged.
//
// A [Handler] is an [http.Handler] for your server:
//
//	store, err := sqlitestore.Open(ctx, "charges.db")
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
//	mux.Handle("/billing/", http.StripPrefix("/billing", h))
//
// It authorizes the caller, validates the events against the JSON Schema in package
// schema, stores all events of a request or none, and responds with 201 when the store's
// durability guarantee holds.
//
// # Parts
//
// An [Authorizer] authenticates callers: [Keys] for API keys, [AuthorizerFunc] for your
// own login, [FirstOf] for several, or package jwtauth.
//
// An [EventStore] stores the events: packages sqlitestore, pgstore and memstore, or your
// own, built with package storekit and checked by package storetest.
//
// Package relay delivers stored events to other systems. Package chargetest runs the
// endpoint in tests of clients.
//
// # Duplicates
//
// An event whose reference is already stored is not stored again: the response has the
// stored event, or is a 409 if the content differs. An Idempotency-Key does the same for
// a request whose events have no references.
//
// # Errors
//
// An [*Error] has a status, a [Code], a message for the client, and every [Violation]. A
// 5xx indicates whether a retry is safe: 503 with a Retry-After if it is, 500 if the
// outcome is unknown.
//
// # Logs
//
// Each request writes one line to [Config.Logger], without credentials and bodies.
package chargeingest

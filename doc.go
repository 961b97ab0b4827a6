// Package chargeingest is an HTTP endpoint that takes in billing charge events
// and keeps every event that it acknowledged.
//
// A [Handler] is an [http.Handler] for servers that run already:
//
//	store, err := sqlitestore.Open(ctx, "charges.db")
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
//	mux.Handle("/billing/", http.StripPrefix("/billing", h))
//
// It authorizes the caller, reads the body, validates it against the JSON
// Schema in package schema, stores all events of the request in one step or
// none, and answers 201 when the store's durability promise holds.
//
// # The parts
//
// Who may do what is decided by an [Authorizer]: [Keys] for API keys, a
// function of the host's own ([AuthorizerFunc]), or several ([FirstOf]).
//
// Where events are kept is decided by an [EventStore]: sqlitestore for a file,
// memstore for tests, or one of the host's own, built on [Decide] and package
// eventid and checked by package storetest.
//
// [Handler.Ingest] takes events in that are in the process already, by the
// same rules.
//
// # Sent twice
//
// An event whose reference is known is not stored again: with the same content
// it is answered as it was stored, with other content refused. A request
// without references is made repeatable by an Idempotency-Key. Both are decided
// in the transaction that stores.
//
// # Errors
//
// A refusal is an [*Error]: a status, a [Code], a message for the client, and
// every [Violation]. A 5xx says whether sending again is safe: 503 with a
// Retry-After where it is, 500 where it is not known.
//
// A refusal that does not need the body is sent at once. The rest of the body is
// discarded within a bound, so that clients which write all of it before they read
// get the refusal too.
//
// # Logs
//
// Each request leaves one line: failures at Error, refusals at Info, successes at
// Debug. The default level of log/slog drops the successes; [Config.Observer] counts
// all. Every line has the client's address ([http.Request.RemoteAddr]), and the subject
// if the [Authorizer] returned it, also with an error. 404 and 405 have the path that
// the handler was given, without the query.
package chargeingest

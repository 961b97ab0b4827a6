// Package openapi checks schema/openapi.yaml with programs that others wrote: two
// linters, three generators whose clients talk to the example server, and a
// validator of the requests and responses of two of them.
//
// It is a module of its own and not in go.work, so that nobody downloads the
// generators who does not run it. The clients are generated, not committed:
// the script run does all of it, as CI does.
package openapi

//go:generate mkdir -p oapicodegen
//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../../schema/openapi.yaml
//go:generate go tool ogen -config ogen.yaml -loglevel error -clean -target ogen -package ogen ../../schema/openapi.yaml
//go:generate npx --no-install openapi-typescript ../../schema/openapi.yaml --output typescript/schema.d.ts

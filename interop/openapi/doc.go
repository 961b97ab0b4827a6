// Package openapi checks schema/openapi.yaml with third-party tools: two linters,
// three generators whose clients call the example server, and a validator of the
// requests and responses of two of these clients.
//
// It is a separate module and not in go.work, so that only those who run it download
// the generators. The clients are generated and not committed. The script run does
// everything, in CI too.
package openapi

//go:generate mkdir -p oapicodegen
//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../../schema/openapi.yaml
//go:generate go tool ogen -config ogen.yaml -loglevel error -clean -target ogen -package ogen ../../schema/openapi.yaml
//go:generate npx --no-install openapi-typescript ../../schema/openapi.yaml --output typescript/schema.d.ts

// Package openapi checks schema/openapi.yaml with linters, client generators and a
// validator. The generated clients, which are not committed, call the example server.
//
// The module is not in go.work, so that only its users download the generators. Use the
// script run.
package openapi

//go:generate mkdir -p oapicodegen
//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../../schema/openapi.yaml
//go:generate go tool ogen -config ogen.yaml -loglevel error -clean -target ogen -package ogen ../../schema/openapi.yaml
//go:generate npx --no-install openapi-typescript ../../schema/openapi.yaml --output typescript/schema.d.ts

// Package schema contains the JSON Schemas (draft 2020-12) with which the handler
// validates charge events, and the OpenAPI 3.1 document of the endpoint.
//
// The schemas use complete patterns instead of `format`, so that all validators agree.
// Three rules are not in the schemas: a period must not end before it starts, an object
// must not have a field twice, and a body has at most 32 levels of nesting.
package schema

import _ "embed"

// ChargeEventID and ChargeEventsID are the $id values of the schemas.
const (
	ChargeEventID  = "https://example.com/chargeingest/charge-event.schema.json"
	ChargeEventsID = "https://example.com/chargeingest/charge-events.schema.json"
)

var (
	//go:embed charge-event.schema.json
	chargeEvent string
	//go:embed charge-events.schema.json
	chargeEvents string
	//go:embed openapi.yaml
	openAPI string
)

// ChargeEvent returns the JSON Schema of one charge event.
func ChargeEvent() string { return chargeEvent }

// ChargeEvents returns the JSON Schema of a batch. It refers to [ChargeEventID].
func ChargeEvents() string { return chargeEvents }

// OpenAPI returns the OpenAPI 3.1 document in YAML.
func OpenAPI() string { return openAPI }

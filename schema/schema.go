// Package schema holds the documents that say what a charge event is: the JSON
// Schemas (draft 2020-12) that the handler validates by, and the OpenAPI 3.1
// description of the HTTP interface.
//
// The schemas use no `format`: their patterns are complete, so that every
// validator has the same verdict. Three rules are beyond a schema: a period does
// not end before it starts, no object names a member twice, and a body has at
// most 32 levels of nesting.
package schema

import _ "embed"

// The identifiers that the two schemas have as their $id. The batch's schema
// refers to the event's.
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

// ChargeEvents returns the JSON Schema of a batch, {"charge_datas": […]}. It
// refers to the schema of [ChargeEvent] by its id.
func ChargeEvents() string { return chargeEvents }

// OpenAPI returns the OpenAPI 3.1 document of the operations, in YAML.
func OpenAPI() string { return openAPI }

package chargeingest

import "encoding/json"

const objectType = "CHARGE_DATA"

// ChargeEvent is one charge event in requests and responses.
//
// A nil pointer or slice is an absent field, or null if the field is nullable. Numbers,
// amounts and timestamps are strings that keep exactly the text that was sent.
//
// The JSON Schema in package schema defines the valid values.
type ChargeEvent struct {
	// Required identifiers of the product catalogue, 1–256 characters each.
	ProductItemID       string
	PricingID           string
	PricingItemID       string
	PricingItemConfigID string

	// The charged customer or subscription: nullable identifiers, 1–256 characters each.
	CustomerID                       *string
	CustomerReference                *string
	PricingPlanSubscriptionID        *string
	PricingPlanSubscriptionReference *string

	PricingPlanSubscriptionSelector *Selector

	// Reference is the sender's name for the event: up to 256 letters A–Z and a–z, digits,
	// underscores and hyphens, unique within the platform, which makes retries safe.
	Reference   *string
	Description *string

	Value  *Value
	Period *Period

	// Timestamp is an RFC 3339 date-time. Nil in a request means the time of receipt.
	Timestamp *string

	// ID is assigned by the store and ignored in requests.
	ID string

	// Extra holds fields that the contract does not define, for a handler with
	// Config.KeepUnknownFields.
	Extra []ExtraField
}

// ExtraField is a field that the contract does not define.
type ExtraField struct {
	Name  string          // not a name of the contract
	Value json.RawMessage // exactly one JSON value
}

// Value is the charged quantity. Every field is optional.
type Value struct {
	ID        *string
	Reference *string
	Number    *string // decimal string, at most 38 digits
	Amount    *Amount // not nullable
	Count     *string // integer string, at most 38 digits
	Extra     []ExtraField
}

// Amount is a sum of money. Both fields are required.
type Amount struct {
	Quantity string // decimal string, at most 38 digits
	Currency string // three capital letters
	Extra    []ExtraField
}

// Period is the period of the charge. Every field is optional.
type Period struct {
	StartAt *string // RFC 3339, not nullable
	EndAt   *string // RFC 3339, not nullable, not before StartAt
	Ratio   *string // decimal string, at most 38 digits
	Extra   []ExtraField
}

// Selector selects the charged pricing plan subscription. Each list has at most 100
// entries.
type Selector struct {
	Data     []SelectorEntry // field and value
	Rules    []SelectorEntry // field and type
	Filters  []SelectorEntry // field, type and value
	Fallback *string         // LATEST or NONE
	Extra    []ExtraField
}

// SelectorEntry is an entry of a list of a [Selector].
type SelectorEntry struct {
	Field string
	Type  string  // in rules and filters; required there
	Value *string // in data and filters, at most 256 characters, not nullable
	Extra []ExtraField
}

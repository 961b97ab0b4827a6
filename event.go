package chargeingest

import "encoding/json"

// objectType is the value of object_type in every answered event.
const objectType = "CHARGE_DATA"

// ChargeEvent is one charge event as it goes over the wire.
//
// A nil pointer or slice is a member that is absent; JSON null means the same for
// the nullable members. A required string that is empty is sent as such, and
// refused. Numbers, amounts and
// instants are strings and stay exactly the text that was sent: nothing here
// goes through a float or a clock.
//
// The rules for each member are in the JSON Schema (package schema), which is
// the one authority on what is valid.
type ChargeEvent struct {
	// Required identifiers of the product catalogue, 1–256 characters each.
	ProductItemID       string
	PricingID           string
	PricingItemID       string
	PricingItemConfigID string

	// Who is charged; nullable identifiers, 1–256 characters each.
	CustomerID                       *string
	CustomerReference                *string
	PricingPlanSubscriptionID        *string
	PricingPlanSubscriptionReference *string

	PricingPlanSubscriptionSelector *Selector

	// Reference is the sender's own name for the event. Set and not empty it
	// is unique within the platform, which makes sending again safe.
	Reference   *string
	Description *string

	Value  *Value
	Period *Period

	// Timestamp is RFC 3339; nil in a request means the time of receipt.
	Timestamp *string

	// ID is assigned by the store and ignored in a request.
	ID string

	// Extra holds members that the contract does not name, kept as sent.
	// Only a handler with Config.KeepUnknownFields accepts them.
	Extra []ExtraField
}

// ExtraField is a JSON object member outside the contract, its value as sent.
type ExtraField struct {
	Name  string          // not one of the contract's
	Value json.RawMessage // exactly one JSON value
}

// Value is how much is charged. Every member is optional.
type Value struct {
	ID        *string
	Reference *string
	Number    *string // decimal string, at most 38 digits
	Amount    *Amount // not nullable
	Count     *string // integer string, at most 38 digits
	Extra     []ExtraField
}

// Amount is a sum of money; both members are required.
type Amount struct {
	Quantity string // decimal string, at most 38 digits
	Currency string // three capital letters
	Extra    []ExtraField
}

// Period is the time that the charge is for. Every member is optional.
type Period struct {
	StartAt *string // RFC 3339, not nullable
	EndAt   *string // RFC 3339, not nullable, not before StartAt
	Ratio   *string // decimal string, at most 38 digits
	Extra   []ExtraField
}

// Selector picks the pricing plan subscription that is charged. A nil list is
// absent; an empty one is kept. At most 100 entries a list.
type Selector struct {
	Data     []SelectorEntry // field and value
	Rules    []SelectorEntry // field and type
	Filters  []SelectorEntry // field, type and value
	Fallback *string         // LATEST or NONE
	Extra    []ExtraField
}

// SelectorEntry is an entry of one of the lists of a [Selector].
type SelectorEntry struct {
	Field string
	Type  string  // in rules and filters, where it is required
	Value *string // in data and filters, at most 256 characters, not nullable
	Extra []ExtraField
}

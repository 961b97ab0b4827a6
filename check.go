package chargeingest

import (
	"time"
	"unicode/utf8"
)

// accepts is the fast accept: true only where the schema accepts the event
// too, which the fuzz tests hold it to. False means not sure; the schema then
// judges and words what is wrong.
func accepts(ev *ChargeEvent) bool {
	return isIdentifier(ev.ProductItemID) &&
		isIdentifier(ev.PricingID) &&
		isIdentifier(ev.PricingItemID) &&
		isIdentifier(ev.PricingItemConfigID) &&
		unset(ev.CustomerID, isIdentifier) &&
		unset(ev.CustomerReference, isIdentifier) &&
		unset(ev.PricingPlanSubscriptionID, isIdentifier) &&
		unset(ev.PricingPlanSubscriptionReference, isIdentifier) &&
		(ev.PricingPlanSubscriptionSelector == nil || acceptsSelector(ev.PricingPlanSubscriptionSelector)) &&
		unset(ev.Reference, isReference) &&
		unset(ev.Description, isDescription) &&
		(ev.Value == nil || acceptsValue(ev.Value)) &&
		(ev.Period == nil || acceptsPeriod(ev.Period)) &&
		unset(ev.Timestamp, isDateTime)
}

func acceptsValue(v *Value) bool {
	return unset(v.ID, isIdentifier) &&
		unset(v.Reference, isIdentifier) &&
		unset(v.Number, isDecimal) &&
		unset(v.Count, isCount) &&
		(v.Amount == nil || isDecimal(v.Amount.Quantity) && isCurrency(v.Amount.Currency))
}

func acceptsPeriod(p *Period) bool {
	return unset(p.StartAt, isDateTime) && unset(p.EndAt, isDateTime) && unset(p.Ratio, isDecimal)
}

// maxSelectorEntries bounds each list of a selector. The decoder ends at more.
const maxSelectorEntries = 100

func acceptsSelector(s *Selector) bool {
	for i := range s.Data {
		if !acceptsEntry(&s.Data[i]) {
			return false
		}
	}
	for i := range s.Rules {
		if !acceptsEntry(&s.Rules[i]) || !isSelectorType(s.Rules[i].Type) {
			return false
		}
	}
	for i := range s.Filters {
		if !acceptsEntry(&s.Filters[i]) || !isSelectorType(s.Filters[i].Type) {
			return false
		}
	}
	return s.Fallback == nil || *s.Fallback == "LATEST" || *s.Fallback == "NONE"
}

func acceptsEntry(e *SelectorEntry) bool {
	return (e.Field == "BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY" || e.Field == "PRICING_PLAN_REFERENCE") &&
		(e.Value == nil || utf8.RuneCountInString(*e.Value) <= maxTextLength)
}

func isSelectorType(s string) bool {
	switch s {
	case "EQUALS", "NOT_EQUALS", "IN", "NOT_IN",
		"GREATER_THAN", "GREATER_THAN_OR_EQUALS", "LESS_THAN", "LESS_THAN_OR_EQUALS",
		"EMPTY", "NOT_EMPTY", "CONTAINS", "NOT_CONTAINS":
		return true
	}
	return false
}

// maxTextLength is the most characters of an identifier, reference,
// description or selector value.
const maxTextLength = 256

// unset holds a rule for a member that may be absent.
func unset(s *string, rule func(string) bool) bool { return s == nil || rule(*s) }

func isIdentifier(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && (len(s) <= maxTextLength || utf8.RuneCountInString(s) <= maxTextLength)
}

func isReference(s string) bool {
	for i := range len(s) {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return len(s) <= maxTextLength
}

func isDescription(s string) bool {
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\v', '\f', '\r', '+':
		default:
			if !isWordByte(c) {
				return false
			}
		}
	}
	return len(s) <= maxTextLength
}

// isWordByte is [a-zA-Z0-9_\-].
func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '_' || c == '-'
}

// maxDigits is the most digits of a number, in all.
const maxDigits = 38

// isDecimal is -?digits(.digits)? of at most 38 digits.
func isDecimal(s string) bool {
	whole, s := digits(trimMinus(s))
	if whole == 0 {
		return false
	}
	if s == "" {
		return whole <= maxDigits
	}
	if s[0] != '.' {
		return false
	}
	fraction, s := digits(s[1:])
	return fraction > 0 && s == "" && whole+fraction <= maxDigits
}

// isCount is -?digits of at most 38 digits.
func isCount(s string) bool {
	n, rest := digits(trimMinus(s))
	return n > 0 && n <= maxDigits && rest == ""
}

func trimMinus(s string) string {
	if s != "" && s[0] == '-' {
		return s[1:]
	}
	return s
}

// digits returns how many digits s starts with, and what follows them.
func digits(s string) (int, string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n, s[n:]
}

func isCurrency(s string) bool {
	if len(s) != 3 {
		return false
	}
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}

func isDateTime(s string) bool {
	_, ok := parseDateTime(s)
	return ok
}

// crossFields are the values that rules over several fields, or over a field
// and a setting, look at. nil is absent or not a string.
type crossFields struct {
	reference, timestamp, startAt, endAt *string
}

func (ev *ChargeEvent) crossFields() crossFields {
	f := crossFields{reference: ev.Reference, timestamp: ev.Timestamp}
	if ev.Period != nil {
		f.startAt, f.endAt = ev.Period.StartAt, ev.Period.EndAt
	}
	return f
}

// crossRules are the rules that a JSON Schema cannot express. They hold for
// events that the fast accept took and for those that the schema judged.
type crossRules struct {
	maxFutureSkew    time.Duration
	requireReference bool
}

// check returns what the rules object to in an event received at now, with
// messages that lack the path. A field
// that is malformed is the schema's to reject and passes here.
func (rules crossRules) check(f crossFields, now time.Time) []Violation {
	var found []Violation
	if rules.requireReference && (f.reference == nil || *f.reference == "") {
		found = append(found, Violation{
			Code: CodeMissingField, Field: "reference",
			Message: " is missing: here every event needs one that is not empty, so that sending it again cannot bill twice",
		})
	}
	if f.startAt != nil && f.endAt != nil {
		start, startOK := parseDateTime(*f.startAt)
		end, endOK := parseDateTime(*f.endAt)
		if startOK && endOK && end.Before(start) {
			found = append(found, Violation{
				Code: CodeInvalidField, Field: "period.end_at",
				Message: " must not be before period.start_at",
			})
		}
	}
	if rules.maxFutureSkew > 0 && f.timestamp != nil {
		if t, ok := parseDateTime(*f.timestamp); ok && t.Sub(now) > rules.maxFutureSkew {
			found = append(found, Violation{
				Code: CodeInvalidField, Field: "timestamp",
				Message: " must not be more than " + rules.maxFutureSkew.String() + " ahead of the time of receipt",
			})
		}
	}
	return found
}

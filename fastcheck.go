package chargeingest

import (
	"unicode/utf8"

	"example.com/chargeingest/internal/rfc3339"
	"example.com/chargeingest/internal/schemacheck"
)

// accepts reports whether an event is certainly valid; otherwise the schema decides.
func accepts(ev *ChargeEvent) bool {
	return isIdentifier(ev.ProductItemID) &&
		isIdentifier(ev.PricingID) &&
		isIdentifier(ev.PricingItemID) &&
		isIdentifier(ev.PricingItemConfigID) &&
		absentOr(ev.CustomerID, isIdentifier) &&
		absentOr(ev.CustomerReference, isIdentifier) &&
		absentOr(ev.PricingPlanSubscriptionID, isIdentifier) &&
		absentOr(ev.PricingPlanSubscriptionReference, isIdentifier) &&
		(ev.PricingPlanSubscriptionSelector == nil || acceptsSelector(ev.PricingPlanSubscriptionSelector)) &&
		absentOr(ev.Reference, isReference) &&
		absentOr(ev.Description, isDescription) &&
		(ev.Value == nil || acceptsValue(ev.Value)) &&
		(ev.Period == nil || acceptsPeriod(ev.Period)) &&
		absentOr(ev.Timestamp, isDateTime)
}

func acceptsValue(v *Value) bool {
	return absentOr(v.ID, isIdentifier) &&
		absentOr(v.Reference, isIdentifier) &&
		absentOr(v.Number, isDecimal) &&
		absentOr(v.Count, isCount) &&
		(v.Amount == nil || isDecimal(v.Amount.Quantity) && isCurrency(v.Amount.Currency))
}

func acceptsPeriod(p *Period) bool {
	return absentOr(p.StartAt, isDateTime) && absentOr(p.EndAt, isDateTime) && absentOr(p.Ratio, isDecimal)
}

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

const maxTextLength = schemacheck.MaxTextLength

func absentOr(s *string, rule func(string) bool) bool { return s == nil || rule(*s) }

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

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '_' || c == '-'
}

const maxDigits = 38

func isDecimal(s string) bool {
	whole, s := countDigits(trimMinus(s))
	if whole == 0 {
		return false
	}
	if s == "" {
		return whole <= maxDigits
	}
	if s[0] != '.' {
		return false
	}
	fraction, s := countDigits(s[1:])
	return fraction > 0 && s == "" && whole+fraction <= maxDigits
}

func isCount(s string) bool {
	n, rest := countDigits(trimMinus(s))
	return n > 0 && n <= maxDigits && rest == ""
}

func trimMinus(s string) string {
	if s != "" && s[0] == '-' {
		return s[1:]
	}
	return s
}

func countDigits(s string) (int, string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n, s[n:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

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
	_, ok := rfc3339.Parse(s)
	return ok
}

func (e *ChargeEvent) crossFields() schemacheck.CrossFields {
	f := schemacheck.CrossFields{Reference: e.Reference, Timestamp: e.Timestamp}
	if e.Period != nil {
		f.StartAt, f.EndAt = e.Period.StartAt, e.Period.EndAt
	}
	return f
}

func isVisibleASCII(s string, maxLength int) bool {
	if s == "" || len(s) > maxLength {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

package schemacheck

import (
	"time"

	"example.com/chargeingest/internal/rfc3339"
)

// CrossFields has nil for an absent field, or one that is not a string.
type CrossFields struct {
	Reference, Timestamp, StartAt, EndAt *string
}

// CrossRules are the rules that a JSON Schema cannot express.
type CrossRules struct {
	MaxFutureSkew    time.Duration // zero for no bound
	RequireReference bool
}

// Check returns the violations of an event received at now, without the path in their
// messages. It ignores malformed fields.
func (rules CrossRules) Check(f CrossFields, now time.Time) []Violation {
	var found []Violation
	if rules.RequireReference && (f.Reference == nil || *f.Reference == "") {
		found = append(found, Violation{MissingField, "reference",
			" is missing: this service requires a reference that is not empty, so that sending an event again cannot bill twice"})
	}
	if f.StartAt != nil && f.EndAt != nil {
		start, startOK := rfc3339.Parse(*f.StartAt)
		end, endOK := rfc3339.Parse(*f.EndAt)
		if startOK && endOK && end.Before(start) {
			found = append(found, Violation{InvalidField, "period.end_at", " must not be before period.start_at"})
		}
	}
	if rules.MaxFutureSkew > 0 && f.Timestamp != nil {
		if t, ok := rfc3339.Parse(*f.Timestamp); ok && t.Sub(now) > rules.MaxFutureSkew {
			found = append(found, Violation{InvalidField, "timestamp",
				" must not be more than " + rules.MaxFutureSkew.String() + " ahead of the time of receipt"})
		}
	}
	return found
}

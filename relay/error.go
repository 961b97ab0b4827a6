package relay

import (
	"fmt"
	"strings"
)

func (e *BatchError) Error() string {
	return "the batch was rejected: " + e.reason().String()
}

func (e *BatchError) reason() Reason {
	if e.Reason == (Reason{}) && e.Err != nil {
		return Reason{Message: e.Err.Error()}
	}
	return e.Reason
}

// Unwrap returns the cause.
func (e *BatchError) Unwrap() error { return e.Err }

func (r Reason) limited() Reason {
	r.Code, r.Field, r.Message = cut(r.Code), cut(r.Field), cut(r.Message)
	return r
}

// String returns the non-empty fields.
func (r Reason) String() string {
	var parts []string
	if r.Status != 0 {
		parts = append(parts, fmt.Sprint("status ", r.Status))
	}
	for _, text := range []string{r.Code, r.Field, r.Message} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ": ")
}

package storekit

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/rfc3339"
)

const maxDifferences = 100

// Differences returns the dotted paths at which a sent event differs from a stored one: at most
// 100, each of at most 128 characters. There are none if the contents are equal.
//
// Contents are compared as JSON values: field order and white space do not matter, a null field
// equals an absent one, and strings and numbers are equal if they are spelled alike. Timestamps
// (timestamp, period.start_at, period.end_at) are compared as instants. An omitted timestamp
// equals another omitted one. A sent one can equal an assigned one.
func Differences(stored chargeingest.StoredEvent, sent *chargeingest.NewEvent) ([]string, error) {
	return differences(context.Background(), stored, sent)
}

func differences(ctx context.Context, stored chargeingest.StoredEvent, sent *chargeingest.NewEvent) ([]string, error) {
	if stored.Digest == sent.Digest {
		return nil, nil
	}
	a, err := jsontree.ParseObject(stored.Content)
	if err != nil {
		return nil, fmt.Errorf("stored event %s: %w", stored.ID, err)
	}
	b, err := jsontree.ParseObject(sent.Content)
	if err != nil {
		return nil, fmt.Errorf("sent event: %w", err)
	}
	rules := jsontree.Rules{MaxPaths: maxDifferences, Equal: sameInstant}
	if sent.TimestampAssigned {
		rules.IgnoreB = "timestamp"
		if stored.TimestampAssigned {
			rules.IgnoreA = "timestamp"
		}
	}
	paths, err := jsontree.Differences(ctx, a, b, rules)
	if err != nil {
		return nil, fmt.Errorf("compare with event %s: %w", stored.ID, err)
	}
	return paths, nil
}

func sameInstant(at jsontree.Location, a, b jsontext.Value) bool {
	isTimestamp := at.Depth == 1 && at.Path == "timestamp" ||
		at.Depth == 2 && (at.Path == "period.start_at" || at.Path == "period.end_at")
	if !isTimestamp || a.Kind() != '"' || b.Kind() != '"' {
		return false
	}
	s, okS := rfc3339.Parse(string(a[1 : len(a)-1]))
	t, okT := rfc3339.Parse(string(b[1 : len(b)-1]))
	return okS && okT && s.Equal(t)
}

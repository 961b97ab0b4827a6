package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/rfc3339"
)

type digest [16]byte

func newDigest(texts ...[]byte) digest {
	sum := sha256.Sum256(bytes.Join(texts, []byte{'\n'}))
	return digest(sum[:16])
}

// decodeSent accepts any id.
func decodeSent(text []byte) (e chargeingest.ChargeEvent, err error) {
	if err = e.UnmarshalJSON(text); err == nil {
		return e, nil
	}
	var fields map[string]jsontext.Value
	if json.Unmarshal(text, &fields) != nil || fields["id"] == nil {
		return e, err
	}
	delete(fields, "id")
	text, err = json.Marshal(fields)
	if err == nil {
		err = e.UnmarshalJSON(text)
	}
	return e, err
}

// contentDigests returns equal digests for duplicates.
func contentDigests(e chargeingest.ChargeEvent) (full, untimed digest, err error) {
	timestamp := e.Timestamp
	e.ID, e.Timestamp = "", nil
	if e.Period != nil {
		p := *e.Period
		p.StartAt, p.EndAt = inUTC(p.StartAt), inUTC(p.EndAt)
		e.Period = &p
	}
	text, err := e.MarshalJSON()
	if err != nil {
		return full, untimed, err
	}
	if hasExtra(&e) {
		if text, err = withCanonicalExtra(text); err != nil {
			return full, untimed, err
		}
	}
	untimed = newDigest(text)
	if timestamp == nil {
		return untimed, untimed, nil
	}
	return newDigest(text, []byte(*inUTC(timestamp))), untimed, nil
}

func inUTC(timestamp *string) *string {
	if timestamp == nil {
		return nil
	}
	t, ok := rfc3339.Parse(*timestamp)
	if !ok {
		return timestamp
	}
	return new(t.Format(time.RFC3339Nano))
}

func hasExtra(e *chargeingest.ChargeEvent) bool {
	v, p, s := orZero(e.Value), orZero(e.Period), orZero(e.PricingPlanSubscriptionSelector)
	inEntry := func(entry chargeingest.SelectorEntry) bool { return len(entry.Extra) > 0 }
	return len(e.Extra)+len(v.Extra)+len(orZero(v.Amount).Extra)+len(p.Extra)+len(s.Extra) > 0 ||
		slices.ContainsFunc(slices.Concat(s.Data, s.Rules, s.Filters), inEntry)
}

func withCanonicalExtra(text []byte) ([]byte, error) {
	text, err := canonical(text)
	if err != nil {
		return nil, err
	}
	var e chargeingest.ChargeEvent
	if err := e.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	return e.MarshalJSON()
}

func canonical(text []byte) ([]byte, error) {
	var out bytes.Buffer
	enc := jsontext.NewEncoder(&out)
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 1 && token.Kind() == '"' {
			token = token.Clone()
			if dec.PeekKind() == 'n' {
				if err := dec.SkipValue(); err != nil {
					return nil, err
				}
				continue
			}
		}
		if err := enc.WriteToken(token); err != nil {
			return nil, err
		}
	}
	v := jsontext.Value(out.Bytes())
	err := v.Format(jsontext.ReorderRawObjects(true))
	return v, err
}

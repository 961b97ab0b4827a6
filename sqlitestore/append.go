package sqlitestore

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// insertion is an event that gets its row.
type insertion struct {
	seq, platform int64
	id            string
	event         *chargeingest.NewEvent
}

// append stores a batch in the transaction that is open. Where the error is a
// refusal nothing was written.
func (s *session) append(a storekit.Attempt, nextID func(time.Time) (string, error)) (chargeingest.AppendResult, error) {
	b := a.Batch
	decision, err := a.Decide(context.Background(), s)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	platform, err := s.platform(b.Platform)
	if err == nil && platform == 0 {
		platform, err = inserted(s.addPlatform.exec(b.Platform))
	}
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	s.platforms[b.Platform] = platform
	receipt, err := decision.Apply(func(i int) (string, error) {
		id, err := nextID(b.Events[i].ReceivedAt)
		if err != nil {
			return "", err
		}
		seq := s.recent.next()
		s.recent.add(seq, platform, b.Platform, &b.Events[i])
		if received := b.Events[i].ReceivedAt; id >= storekit.FirstID(received.Add(backdatedAfter)) {
			if _, err := s.addBackdated.exec(received.UnixMilli(), seq); err != nil {
				return "", err
			}
		}
		s.waiting = append(s.waiting, insertion{seq, platform, id, &b.Events[i]})
		return id, nil
	})
	if err == nil {
		err = s.flush(len(s.waiting) - len(s.waiting)%rowsAtOnce)
	}
	if bound := decision.IdempotencyRecord(receipt); err == nil && bound != nil {
		err = s.bind(platform, b, receipt, bound)
	}
	return receipt, err
}

// flush inserts the first n of the events that are waiting.
func (s *session) flush(n int) error {
	err := s.insertEvents.insert(n, func(i int, set func(...driver.Value)) {
		e := s.waiting[i].event
		set(s.waiting[i].seq, s.waiting[i].id, s.waiting[i].platform,
			orNull(e.Reference), orNull(e.CustomerID), orNull(e.CustomerReference),
			orNull(e.PricingPlanSubscriptionID), orNull(e.PricingPlanSubscriptionReference), e.ProductItemID,
			e.Timestamp.Unix(), int64(e.Timestamp.Nanosecond()), e.TimestampAssigned,
			e.ReceivedAt.Unix(), int64(e.ReceivedAt.Nanosecond()), e.Digest[:], e.Content)
	})
	s.waiting = slices.Delete(s.waiting, 0, n)
	return err
}

// bind keeps what a request with an idempotency key was answered with.
func (s *session) bind(platform int64, b chargeingest.Batch, receipt chargeingest.AppendResult, request *storekit.IdempotencyRecord) error {
	if err := s.flush(len(s.waiting)); err != nil {
		return err
	}
	bound, err := s.bound(b, receipt)
	if err != nil {
		return err
	}
	number, err := inserted(s.bindRequest.exec(platform, b.IdempotencyKey, string(request.Route), request.Digest[:], bound))
	if err != nil {
		return err
	}
	for i := range request.Events {
		e := &request.Events[i]
		if _, err := s.bindEvent.exec(number, int64(i), e.ID, orNil(e.EncodeSent())); err != nil {
			return err
		}
	}
	return nil
}

// bound returns when a request was received, in milliseconds since 1970, or the
// last of its events if that is later.
func (s *session) bound(b chargeingest.Batch, receipt chargeingest.AppendResult) (int64, error) {
	bound := b.Events[0].ReceivedAt.UnixMilli()
	for i, o := range receipt.Outcomes {
		received := b.Events[i].ReceivedAt.UnixMilli()
		if o.Replayed {
			rows, err := s.receivedAt.query(o.ID)
			if err != nil {
				return 0, err
			}
			if err := scan(rows[0], &received); err != nil {
				return 0, err
			}
		}
		bound = max(bound, received)
	}
	return bound, nil
}

// inserted returns the number of the row that was inserted.
func inserted(result driver.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

func orNil(text *string) driver.Value {
	if text == nil {
		return nil
	}
	return *text
}

// orNull returns nil for a text that is not set.
func orNull(text string) driver.Value {
	if text == "" {
		return nil
	}
	return text
}

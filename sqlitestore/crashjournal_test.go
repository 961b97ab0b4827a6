package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// acks counts acknowledged saves in a file that is not on the disk under test.
type acks struct{ path string }

// ignore applies to all processes. A sync during a power cut can succeed without effect.
func (a *acks) ignore() error { return os.WriteFile(a.path+".ignored", nil, 0o600) }

func (a *acks) accept() { _ = os.Remove(a.path + ".ignored") }

func (a *acks) add() error {
	if _, err := os.Stat(a.path + ".ignored"); err == nil {
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{1})
	return errors.Join(err, f.Close())
}

func (a *acks) count() int64 { return max(0, fileSize(a.path)) }

// journaled is a store that saves to its journal during every third Append.
type journaled struct {
	*Store
	acks    *acks
	token   int64
	appends atomic.Int64
}

var crashStream = relay.Stream{Destination: "vendor", Platform: "acme"}

// newJournaled requires that the journal has each acknowledged Save, and each with its entry.
func newJournaled(ctx context.Context, s *Store, a *acks) (*journaled, error) {
	acknowledged := a.count()
	state, err := s.Journal().Lease(ctx, crashStream, relay.LeaseRequest{Holder: "child", TTL: time.Hour})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	list, err := s.Journal().Status(ctx, "acme")
	if err == nil && (list[0].Delivered < acknowledged || list[0].Parked != list[0].Delivered) {
		err = fmt.Errorf("LOST: %d saves were acknowledged, the journal has %d with %d entries", acknowledged, list[0].Delivered, list[0].Parked)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &journaled{Store: s, acks: a, token: state.Token}, nil
}

func (j *journaled) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	if j.appends.Add(1)%3 != 1 {
		return j.Store.Append(ctx, b)
	}
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		now := time.Now()
		entry := relay.EntryChange{EventID: fmt.Sprint(now.UnixNano(), b.Digest), State: relay.Parked, NextAttempt: now, Attempt: relay.Attempt{At: now}}
		p := relay.Progress{Token: j.token, Delivered: 1, Entries: []relay.EntryChange{entry}}
		if j.Journal().Save(context.WithoutCancel(ctx), crashStream, p) == nil {
			_ = j.acks.add() // a missing one weakens the check
		}
	}()
	result, err := j.Store.Append(ctx, b)
	<-saved
	return result, err
}

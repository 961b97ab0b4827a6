package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// acks is a file outside the disk under test.
type acks struct{ path string }

// ignore applies to all processes. A sync during a power cut can succeed without effect.
func (a *acks) ignore() error { return os.WriteFile(a.path+".ignored", nil, 0o600) }

func (a *acks) accept() { _ = os.Remove(a.path + ".ignored") }

func (a *acks) add(id string) error {
	if _, err := os.Stat(a.path + ".ignored"); err == nil {
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id + "\n")
	return errors.Join(err, f.Close())
}

func (a *acks) entries() []string {
	data, _ := os.ReadFile(a.path) // none before the first save
	return strings.Fields(string(data))
}

// journaled is a store that saves to its journal during every third Append.
type journaled struct {
	*Store
	acks    *acks
	token   int64
	appends atomic.Int64
}

var crashStream = relay.Stream{Destination: "vendor", Platform: "acme"}

// newJournaled requires that the journal has the entry of each acknowledged Save.
func newJournaled(ctx context.Context, s *Store, a *acks) (*journaled, error) {
	acknowledged := a.entries()
	state, err := s.Journal().Lease(ctx, crashStream, relay.LeaseRequest{Holder: "child", TTL: time.Hour})
	if err == nil {
		err = checkSaves(ctx, s.Journal(), acknowledged)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &journaled{Store: s, acks: a, token: state.Token}, nil
}

func checkSaves(ctx context.Context, j *Journal, acknowledged []string) error {
	list, err := j.Status(ctx, crashStream.Platform)
	if err != nil {
		return err
	}
	page, err := j.Entries(ctx, relay.EntryQuery{Stream: crashStream, Limit: math.MaxInt})
	if err != nil {
		return err
	}
	if n := int64(len(page.Entries)); list[0].Delivered != n || list[0].Parked != n {
		return fmt.Errorf("the journal has %d entries of %d saves", n, list[0].Delivered)
	}
	found := make(map[string]bool)
	for _, e := range page.Entries {
		found[e.EventID] = true
	}
	for i, id := range acknowledged {
		if !found[id] {
			return fmt.Errorf("LOST: save %d of %d that were acknowledged, of %s", i+1, len(acknowledged), id)
		}
	}
	return nil
}

func (j *journaled) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	if j.appends.Add(1)%3 != 1 {
		return j.Store.Append(ctx, b)
	}
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		now := time.Now()
		entry := relay.EntryChange{EventID: fmt.Sprintf("%d-%x", now.UnixNano(), b.Digest), State: relay.Parked, NextAttempt: now, Attempt: relay.Attempt{At: now}}
		p := relay.Progress{Token: j.token, Delivered: 1, Entries: []relay.EntryChange{entry}}
		if j.Journal().Save(context.WithoutCancel(ctx), crashStream, p) == nil {
			_ = j.acks.add(entry.EventID) // a missing one weakens the check
		}
	}()
	result, err := j.Store.Append(ctx, b)
	<-saved
	return result, err
}

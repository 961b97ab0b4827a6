package storetest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

type brokenJournal struct {
	Journal
	lease   func(relay.Stream, relay.LeaseRequest) (relay.State, error)
	save    func(relay.Stream, relay.Progress) error
	due     func(relay.Stream, time.Time, int) ([]relay.Entry, time.Time, error)
	status  func(string) ([]relay.Status, error)
	entries func(relay.EntryQuery) (relay.EntryPage, error)
	resolve func(relay.Resolution) (int64, error)

	platforms func([]string) []string
	loses     bool // everything when it is reopened
}

func newBrokenJournal(j Journal) *brokenJournal {
	ctx := context.Background()
	return &brokenJournal{
		Journal: j,
		lease:   func(s relay.Stream, r relay.LeaseRequest) (relay.State, error) { return j.Lease(ctx, s, r) },
		save:    func(s relay.Stream, p relay.Progress) error { return j.Save(ctx, s, p) },
		due: func(s relay.Stream, now time.Time, limit int) ([]relay.Entry, time.Time, error) {
			return j.Due(ctx, s, now, limit)
		},
		status:    func(platform string) ([]relay.Status, error) { return j.Status(ctx, platform) },
		entries:   func(q relay.EntryQuery) (relay.EntryPage, error) { return j.Entries(ctx, q) },
		resolve:   func(r relay.Resolution) (int64, error) { return j.Resolve(ctx, r) },
		platforms: func(list []string) []string { return list },
	}
}

func (j *brokenJournal) Lease(_ context.Context, s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
	return j.lease(s, r)
}

func (j *brokenJournal) Save(_ context.Context, s relay.Stream, p relay.Progress) error {
	return j.save(s, p)
}

func (j *brokenJournal) Due(_ context.Context, s relay.Stream, now time.Time, limit int) ([]relay.Entry, time.Time, error) {
	return j.due(s, now, limit)
}

func (j *brokenJournal) Status(_ context.Context, platform string) ([]relay.Status, error) {
	return j.status(platform)
}

func (j *brokenJournal) Entries(_ context.Context, q relay.EntryQuery) (relay.EntryPage, error) {
	return j.entries(q)
}

func (j *brokenJournal) Resolve(_ context.Context, r relay.Resolution) (int64, error) {
	return j.resolve(r)
}

type listingStore struct {
	*memstore.Store
	journal *brokenJournal
}

func (s listingStore) Platforms(ctx context.Context, after string, limit int) ([]string, error) {
	list, err := s.Store.Platforms(ctx, after, limit)
	return s.journal.platforms(list), err
}

func runJournalCase(t *testing.T, tc journalCase, inject func(*brokenJournal)) *recorder {
	r := new(recorder)
	synctest.Test(t, func(t *testing.T) {
		r.TB = t
		done := make(chan struct{})
		go func() {
			defer close(done)
			open := func() (chargeingest.EventStore, Journal) {
				m := memstore.New()
				j := newBrokenJournal(m.Journal())
				inject(j)
				return listingStore{m, j}, j
			}
			c := &journalCheck{check: &check{testingT: r, rule: tc.rule}}
			c.reopenJournal = func(s chargeingest.EventStore) (chargeingest.EventStore, Journal) {
				if j := s.(listingStore).journal; !j.loses {
					return s, j
				}
				return open()
			}
			c.start(open())
			tc.run(c)
		}()
		<-done
	})
	return r
}

func TestJournalFaults(t *testing.T) {
	cases := make(map[string]journalCase)
	for _, tc := range journalCases() {
		require.NotContains(t, cases, tc.rule, "rules are unique")
		cases[tc.rule] = tc
		t.Run(tc.rule, func(t *testing.T) {
			require.Empty(t, runJournalCase(t, tc, func(*brokenJournal) {}).failure)
		})
	}
	caught := make(map[string]bool)
	for _, f := range journalFaults() {
		t.Run(f.name, func(t *testing.T) {
			for _, rule := range f.caughtBy {
				require.Contains(t, cases, rule)
				require.Contains(t, runJournalCase(t, cases[rule], f.inject).failure, rule, "the case fails and quotes its rule")
				caught[rule] = true
			}
		})
	}
	for rule := range cases {
		require.Contains(t, caught, rule, "there is a fault for every case")
	}
}

type journalFault struct {
	name     string
	inject   func(*brokenJournal)
	caughtBy []string
}

func journalFaults() []journalFault {
	return slices.Concat(leaseFaults(), saveFaults(), ledgerFaults())
}

func (j *brokenJournal) onLease(change func(*relay.Stream, *relay.LeaseRequest)) {
	next := j.lease
	j.lease = func(s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
		change(&s, &r)
		return next(s, r)
	}
}

func (j *brokenJournal) onSave(change func(*relay.Stream, *relay.Progress)) {
	next := j.save
	j.save = func(s relay.Stream, p relay.Progress) error {
		p.Entries = slices.Clone(p.Entries)
		change(&s, &p)
		return next(s, p)
	}
}

func (j *brokenJournal) onStatus(change func([]relay.Status) []relay.Status) {
	next := j.status
	j.status = func(platform string) ([]relay.Status, error) {
		list, err := next(platform)
		return change(list), err
	}
}

func (j *brokenJournal) onEachStatus(change func(*relay.Status)) {
	j.onStatus(func(list []relay.Status) []relay.Status {
		for i := range list {
			change(&list[i])
		}
		return list
	})
}

func (j *brokenJournal) onEntries(change func(*relay.EntryQuery)) {
	next := j.entries
	j.entries = func(q relay.EntryQuery) (relay.EntryPage, error) {
		change(&q)
		return next(q)
	}
}

func (j *brokenJournal) onResolve(change func(*relay.Resolution)) {
	next := j.resolve
	j.resolve = func(r relay.Resolution) (int64, error) {
		change(&r)
		return next(r)
	}
}

package storetest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

func leaseFaults() []journalFault {
	return []journalFault{
		{"every holder gets the lease", func(j *brokenJournal) {
			j.onLease(func(_ *relay.Stream, r *relay.LeaseRequest) { r.Holder = "" })
		}, []string{"only one holder has the lease of a stream", "of many holders at once, exactly one gets the lease", "streams have separate leases"}},
		{"holders ignore case", func(j *brokenJournal) {
			j.onLease(func(_ *relay.Stream, r *relay.LeaseRequest) { r.Holder = strings.ToLower(r.Holder) })
		}, []string{"only one holder has the lease of a stream"}},
		{"an extension has a new token", func(j *brokenJournal) {
			next := j.lease
			j.lease = func(s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
				_, _ = next(s, relay.LeaseRequest{Holder: r.Holder, Position: r.Position})
				return next(s, r)
			}
		}, []string{"an extension keeps the token, and each later lease has a greater one"}},
		{"all leases have one token", func(j *brokenJournal) {
			next, save := j.lease, j.save
			var last sync.Map
			j.lease = func(s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
				state, err := next(s, r)
				if err == nil {
					last.Store(s, state.Token)
					state.Token = 1
				}
				return state, err
			}
			j.save = func(s relay.Stream, p relay.Progress) error {
				if token, ok := last.Load(s); ok && p.Token == 1 {
					p.Token = token.(int64)
				}
				return save(s, p)
			}
		}, []string{
			"an extension keeps the token, and each later lease has a greater one", "another holder gets a lease after its TTL, and not before",
			"leases have greater tokens after reopening",
		}},
		{"leases do not end", func(j *brokenJournal) {
			j.onLease(func(_ *relay.Stream, r *relay.LeaseRequest) { r.TTL *= 1000 })
		}, []string{"another holder gets a lease after its TTL, and not before", "Save with the token of an expired lease changes nothing once another holder has the stream"}},
		{"a TTL of zero ends the lease of any holder", func(j *brokenJournal) {
			next := j.lease
			var holder string
			j.lease = func(s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
				if r.TTL == 0 {
					r.Holder = holder
				}
				state, err := next(s, r)
				if err == nil {
					holder = r.Holder
				}
				return state, err
			}
		}, []string{"a TTL of zero ends only the holder's own lease"}},
		{"leases are per destination", func(j *brokenJournal) {
			j.onLease(func(s *relay.Stream, _ *relay.LeaseRequest) { s.Platform = acme })
		}, []string{"streams have separate leases"}},
		{"new streams begin at the beginning", func(j *brokenJournal) {
			j.onLease(func(_ *relay.Stream, r *relay.LeaseRequest) { r.Position = "" })
		}, []string{"Lease creates a stream at the requested position and later ignores that"}},
		{"reopening loses the journal", func(j *brokenJournal) { j.loses = true }, []string{
			"leases have greater tokens after reopening", "saved progress survives reopening", "entries and their histories survive reopening",
		}},
	}
}

func saveFaults() []journalFault {
	ignoreToken := func(applies func(relay.Stream) bool) func(*brokenJournal) {
		return func(j *brokenJournal) {
			var tokens sync.Map
			next, save := j.lease, j.save
			j.lease = func(s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
				state, err := next(s, r)
				if err == nil {
					tokens.Store(s, state.Token)
				}
				return state, err
			}
			j.save = func(s relay.Stream, p relay.Progress) error {
				if token, ok := tokens.Load(s); ok && applies(s) {
					p.Token = token.(int64)
				}
				return save(s, p)
			}
		}
	}
	rename := func(change func(string) string) func(*brokenJournal) {
		return func(j *brokenJournal) {
			j.onLease(func(s *relay.Stream, _ *relay.LeaseRequest) { s.Destination = change(s.Destination) })
			j.onSave(func(s *relay.Stream, _ *relay.Progress) { s.Destination = change(s.Destination) })
		}
	}
	names := []string{"names are compared byte by byte"}
	return []journalFault{
		{"Save ignores the token", ignoreToken(func(relay.Stream) bool { return true }), []string{
			"Save with the token of an earlier lease changes nothing",
			"Save with the token of an expired lease changes nothing once another holder has the stream",
			"Save works after the end of the lease as long as no other holder has had the stream",
			"Save changes only its stream", "leases have greater tokens after reopening",
		}},
		{"Save needs no lease", func(j *brokenJournal) {
			next := j.save
			j.save = func(s relay.Stream, p relay.Progress) error {
				if list, _ := j.status(""); len(list) == 0 {
					_, _ = j.lease(s, relay.LeaseRequest{Holder: "a", TTL: time.Hour})
				}
				return next(s, p)
			}
		}, []string{"Save without a lease changes nothing"}},
		{"Save ignores entries", func(j *brokenJournal) {
			j.onSave(func(_ *relay.Stream, p *relay.Progress) { p.Entries = nil })
		}, []string{
			"Save records progress, and zero fields change nothing", "saved progress survives reopening", "concurrent saves are all recorded",
			"entries are listed with all their attempts, in the order of their first", "Due returns the next attempt after those",
		}},
		{"Save ignores the position", func(j *brokenJournal) {
			j.onSave(func(_ *relay.Stream, p *relay.Progress) { p.Position = "" })
		}, []string{
			"Save records progress, and zero fields change nothing",
			"Status counts the events after the position and returns the receipt of the first",
			"Entries with an EventID returns pending, delivered and parked events",
			"Lag is unknown for a position of another store",
		}},
		{"Save has two transactions", func(j *brokenJournal) {
			next := j.save
			j.save = func(s relay.Stream, p relay.Progress) error {
				entries := p.Entries
				p.Entries = nil
				if err := next(s, p); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
				return next(s, relay.Progress{Token: p.Token, Entries: entries})
			}
		}, []string{"readers see all of a Save or nothing"}},
		{"concurrent saves overwrite each other", func(j *brokenJournal) {
			next := j.save
			var saving sync.Mutex
			j.save = func(s relay.Stream, p relay.Progress) error {
				if !saving.TryLock() {
					return nil
				}
				defer saving.Unlock()
				time.Sleep(time.Millisecond)
				return next(s, p)
			}
		}, []string{"concurrent saves are all recorded"}},
		{"names ignore case", rename(strings.ToLower), names},
		{"names are cut at a zero byte", rename(func(s string) string { s, _, _ = strings.Cut(s, "\x00"); return s }), names},
		{"names are made valid UTF-8", rename(func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }), names},
		{"names are truncated to 255 characters", rename(truncateRunes(255)), names},
		{"a skipped entry is parked again", func(j *brokenJournal) {
			next := j.save
			j.save = func(s relay.Stream, p relay.Progress) error {
				for _, c := range p.Entries {
					_, _ = j.resolve(relay.Resolution{Stream: s, Action: relay.Retry, EventIDs: []string{c.EventID}, By: "eve", At: minute(0)})
				}
				return next(s, p)
			}
		}, []string{"a skipped entry changes only if it was delivered"}},
		{"histories have no bound", func(j *brokenJournal) {
			var all []relay.Attempt
			j.onSave(func(_ *relay.Stream, p *relay.Progress) {
				for _, c := range p.Entries {
					all = append(all, c.Attempt)
				}
			})
			next := j.entries
			j.entries = func(q relay.EntryQuery) (relay.EntryPage, error) {
				page, err := next(q)
				page.Entries[0].History = all
				return page, err
			}
		}, []string{"a history has the first attempt and the last 49"}},
	}
}

func ledgerFaults() []journalFault {
	var since sync.Map
	return []journalFault{
		{"Due ignores the limit", func(j *brokenJournal) {
			next := j.due
			j.due = func(s relay.Stream, now time.Time, _ int) ([]relay.Entry, time.Time, error) {
				return next(s, now, 1000)
			}
		}, []string{"Due returns parked entries by NextAttempt, up to a limit"}},
		{"Due ignores the time", func(j *brokenJournal) {
			next := j.due
			j.due = func(s relay.Stream, now time.Time, limit int) ([]relay.Entry, time.Time, error) {
				return next(s, now.Add(time.Hour), limit)
			}
		}, []string{"Due returns parked entries by NextAttempt, up to a limit", "Due returns the next attempt after those"}},
		{"Status does not count", func(j *brokenJournal) {
			j.onEachStatus(func(s *relay.Status) { s.Lag, s.Parked = 0, 0 })
		}, []string{
			"Status counts the events after the position and returns the receipt of the first", "Lag is unknown for a position of another store",
			"Status counts entries by state", "readers see all of a Save or nothing",
		}},
		{"Status is not sorted", func(j *brokenJournal) {
			j.onStatus(func(list []relay.Status) []relay.Status { slices.Reverse(list); return list })
		}, []string{"Status lists streams by destination and platform, without those that have no platform"}},
		{"Status shows markers", func(j *brokenJournal) {
			j.onStatus(func(list []relay.Status) []relay.Status { return append([]relay.Status{{}}, list...) })
		}, []string{"Status lists streams by destination and platform, without those that have no platform"}},
		{"FailingSince changes with the failure", func(j *brokenJournal) {
			j.onEachStatus(func(s *relay.Status) {
				if s.Failure != "" {
					at, _ := since.LoadOrStore(s.Failure, time.Now())
					s.FailingSince = at.(time.Time)
				}
			})
		}, []string{"Failure is kept until it is cleared, with the time since when"}},
		{"Platforms are not sorted", func(j *brokenJournal) {
			j.platforms = func(list []string) []string { slices.Reverse(list); return list }
		}, []string{"Platforms lists the platforms with events in byte order"}},
		{"Entries ignores filters", func(j *brokenJournal) {
			j.onEntries(func(q *relay.EntryQuery) { q.State, q.Code = "", "" })
		}, []string{"Entries filters by state and code", "pages of Entries have each entry once"}},
		{"Entries ignores the cursor", func(j *brokenJournal) {
			j.onEntries(func(q *relay.EntryQuery) { q.After = "" })
		}, []string{"pages of Entries have each entry once", "Entries returns ErrInvalidCursor for a wrong cursor"}},
		{"unknown events are pending", func(j *brokenJournal) {
			next := j.entries
			j.entries = func(q relay.EntryQuery) (relay.EntryPage, error) {
				page, err := next(q)
				if errors.Is(err, chargeingest.ErrNotFound) {
					return relay.EntryPage{Entries: []relay.Entry{{EventID: q.EventID, State: relay.Pending}}}, nil
				}
				return page, err
			}
		}, []string{"Entries returns ErrNotFound for an unknown stream or event"}},
		{"decisions do not record who made them", func(j *brokenJournal) {
			j.onResolve(func(r *relay.Resolution) { r.By = "someone" })
		}, []string{
			"Retry parks entries again and starts their age again", "Skip gives up parked and dead entries",
			"Resolve by filter changes exactly the matching entries", "a retired stream cannot be leased and keeps its record",
			"Resolve rejects an invalid resolution and an unknown stream",
		}},
		{"Retry of a retired stream succeeds", func(j *brokenJournal) {
			next := j.resolve
			j.resolve = func(r relay.Resolution) (int64, error) {
				n, err := next(r)
				if errors.Is(err, relay.ErrRetired) {
					err = nil
				}
				return n, err
			}
		}, []string{"a retired stream cannot be leased and keeps its record"}},
		{"Resolve ignores the code", func(j *brokenJournal) {
			j.onResolve(func(r *relay.Resolution) { r.Code = "" })
		}, []string{"Resolve by filter changes exactly the matching entries"}},
		{"Resolve changes all destinations", func(j *brokenJournal) {
			next := j.resolve
			j.resolve = func(r relay.Resolution) (int64, error) {
				n, err := next(r)
				r.Destination = archive
				_, _ = next(r)
				return n, err
			}
		}, []string{"Resolve changes only its stream"}},
	}
}

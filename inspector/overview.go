package inspector

import (
	"net/http"
	"time"

	"example.com/chargeingest"
)

const maxRefusals = 50

type overview struct {
	Minutes  []minuteCount  `json:"minutes"`
	Refusals []refusalCount `json:"refusals"`
	Requests requestsSize   `json:"requests"`
	Store    *storeState    `json:"store"`
}

type minuteCount struct {
	Time     time.Time `json:"time"`
	Accepted int       `json:"accepted"`
	Replayed int       `json:"replayed"`
	Rejected int       `json:"rejected"`
}

type refusalCount struct {
	Code  string `json:"code"`
	Field string `json:"field"`
	Count int    `json:"count"`
}

type requestsSize struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

type storeState struct {
	QueuedRequests  int         `json:"queued_requests"`
	QueuedEvents    int         `json:"queued_events"`
	Commits         uint64      `json:"commits"`
	LastCommit      commitState `json:"last_commit"`
	WALBytes        int64       `json:"wal_bytes"`
	WALBlockedSince *time.Time  `json:"wal_blocked_since"`
	LastCheckpoint  *time.Time  `json:"last_checkpoint"`
	DatabaseBytes   int64       `json:"database_bytes"`
	DiskFreeBytes   *int64      `json:"disk_free_bytes"`
	NewestEvent     *time.Time  `json:"newest_event"`
}

type commitState struct {
	Requests   int     `json:"requests"`
	Events     int     `json:"events"`
	DurationMS float64 `json:"duration_ms"`
	Error      bool    `json:"error"`
}

func (a *api) overview(v viewer, _ *http.Request) (any, error) {
	s := a.scope(v)
	o := overview{Minutes: []minuteCount{}, Refusals: []refusalCount{}}
	minutes, refusals := a.requests.activity(s, a.cfg.Now())
	for _, m := range minutes {
		o.Minutes = append(o.Minutes, minuteCount{m.start.UTC(), m.accepted, m.replayed, m.rejected})
	}
	for _, r := range refusals[:min(len(refusals), maxRefusals)] {
		o.Refusals = append(o.Refusals, refusalCount{r.code, r.field, r.count})
	}
	for _, r := range a.requests.list(s, 0, 0, 0) {
		o.Requests.Count++
		o.Requests.Bytes += r.size
	}
	if a.cfg.Stats != nil {
		o.Store = newStoreState(a.cfg.Stats.Stats())
	}
	return o, nil
}

func newStoreState(s chargeingest.StoreStats) *storeState {
	return &storeState{
		QueuedRequests: s.QueuedRequests, QueuedEvents: s.QueuedEvents, Commits: s.Commits,
		LastCommit: commitState{s.LastCommit.Requests, s.LastCommit.Events, milliseconds(s.LastCommit.Duration), s.LastCommit.Err != nil},
		WALBytes:   s.WALBytes, WALBlockedSince: known(s.WALBlockedSince), LastCheckpoint: known(s.LastCheckpoint),
		DatabaseBytes: s.DatabaseBytes, DiskFreeBytes: s.DiskFreeBytes, NewestEvent: known(s.NewestEvent),
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

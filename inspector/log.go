package inspector

import (
	"slices"
	"sync"
	"time"
)

// requestLog keeps the latest records of all platforms within the limits of Config.
type requestLog struct {
	mu      sync.Mutex
	records []*record // in order of arrival
	changed chan struct{}
}

// add assigns the id.
func (l *requestLog) add(r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.id = r.time.UnixMicro()
	if n := len(l.records); n > 0 {
		r.id = max(r.id, l.records[n-1].id+1)
	}
	l.records = append(l.records, r)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// list returns records with after < id < before, newest first. A bound of 0 does not apply.
func (l *requestLog) list(s scope, after, before int64) []*record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*record
	for _, r := range slices.Backward(l.records) {
		if r.id > after && (before == 0 || r.id < before) && s.includes(r) {
			found = append(found, r)
		}
	}
	return found
}

func (s scope) includes(r *record) bool {
	return r.stats.Platform == s.platform || s.unidentified && r.stats.Platform == ""
}

// get returns nil if there is no such record.
func (l *requestLog) get(s scope, id int64) *record {
	for _, r := range l.list(s, id-1, id+1) {
		return r
	}
	return nil
}

// newest returns the id of the newest record in the scope, or 0, and a channel that is
// closed when the scope gets another one.
func (l *requestLog) newest(s scope) (id int64, changed <-chan struct{}) {
	if list := l.list(s, 0, 0); len(list) > 0 {
		id = list[0].id
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return id, l.changed
}

// minute counts the requests that ended in one minute.
type minute struct {
	start    time.Time
	accepted int // new events
	replayed int // events
	rejected int // requests
}

// refusal counts responses with an error.
type refusal struct {
	code, field string // without the index of a batch: charge_datas.*.value.number
	count       int
}

// activity returns the last 60 minutes up to now, oldest first, and the refusals within
// them, most frequent first.
func (l *requestLog) activity(s scope, now time.Time) ([]minute, []refusal) {
	return nil, nil
}

package relay

import (
	"container/heap"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	idleGap   = 5 * time.Millisecond  // between polls of idle platforms
	notifyGap = 20 * time.Millisecond // between turns of a platform, to gather events
	slowSend  = 5 * time.Second
)

type queue int

const (
	idle queue = iota
	busy
	slow // after a failure or a slow Send; these use at most half of Config.Concurrency
	queues
)

type plan struct {
	mu      sync.Mutex
	streams map[string]*stream
	waiting [queues]waiting
	active  int
	slow    int
	limit   int

	nextIdle time.Time
	wake     chan struct{}
}

type decision struct {
	queue queue
	due   time.Time
}

func (p *plan) init(limit int) {
	p.streams, p.limit, p.wake = make(map[string]*stream), limit, make(chan struct{}, 1)
}

func (p *plan) add(platform string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(platform)
}

func (p *plan) addLocked(platform string) {
	if p.streams[platform] == nil && platform != "" {
		s := &stream{platform: platform}
		p.streams[platform] = s
		p.push(s, decision{busy, time.Now()})
	}
}

func (p *plan) push(s *stream, d decision) {
	s.decision = d
	heap.Push(&p.waiting[d.queue], s)
	p.signal()
}

func (p *plan) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *plan) all() []*stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.streams))
}

func (p *plan) notify(platform string, add bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.streams[platform]
	switch {
	case s == nil && add:
		p.addLocked(platform)
	case s == nil:
	case s.running:
		s.notified = true
	case s.queue == idle:
		heap.Remove(&p.waiting[idle], s.index)
		p.push(s, decision{busy, s.ended.Add(notifyGap)})
	}
}

// next returns the stream whose turn it is, or the time until the next may be due, or zero.
func (p *plan) next(now time.Time) (*stream, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active >= p.limit {
		return nil, 0
	}
	first, when := queues, time.Time{}
	for q := range queues {
		if len(p.waiting[q]) == 0 || q == slow && p.slow >= max(1, p.limit/2) {
			continue
		}
		due := p.waiting[q][0].due
		if q == idle && due.Before(p.nextIdle) {
			due = p.nextIdle
		}
		if first == queues || due.Before(when) {
			first, when = q, due
		}
	}
	if first == queues {
		return nil, 0
	}
	if wait := when.Sub(now); wait > 0 {
		return nil, wait
	}
	s := heap.Pop(&p.waiting[first]).(*stream)
	switch first {
	case slow:
		p.slow++
	case idle:
		p.nextIdle = now.Add(idleGap)
	}
	s.running, s.notified = true, false
	p.active++
	return s, 0
}

func (p *plan) done(s *stream, d decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	if s.queue == slow {
		p.slow--
	}
	s.running, s.ended = false, time.Now()
	if s.notified && d.queue == idle {
		d = decision{busy, s.ended.Add(notifyGap)}
	}
	p.push(s, d)
}

func (p *plan) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for q := range queues {
		if len(p.waiting[q]) > 0 && !p.waiting[q][0].due.After(now) && (p.active >= p.limit || q == slow) {
			return true
		}
	}
	return false
}

type waiting []*stream

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

func (w *waiting) Push(x any) {
	s := x.(*stream)
	s.index = len(*w)
	*w = append(*w, s)
}

func (w *waiting) Pop() any {
	last := len(*w) - 1
	s := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return s
}

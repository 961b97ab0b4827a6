package limits

import "sync"

// Budget bounds the bytes that requests hold. Several requests of one platform get at most
// seven eighths, so that its slow clients leave room to others. It is safe for concurrent
// use.
type Budget struct {
	limit int64

	mu         sync.Mutex
	used       int64
	byPlatform map[string]int64 // without zero entries
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, byPlatform: make(map[string]int64)}
}

// Reservation is what one request holds.
type Reservation struct {
	Budget   *Budget
	Platform string // fixed before the first Resize

	bytes    int64 // guarded by Budget.mu, as is released
	released bool
}

// Release returns all bytes. Then Resize fails: a store that still works for the request cannot
// reserve more.
func (r *Reservation) Release() {
	r.Budget.mu.Lock()
	defer r.Budget.mu.Unlock()
	r.set(0)
	r.released = true
}

// Resize reserves n bytes if the budget has room, or no other request holds bytes. It reports
// whether it did.
func (r *Reservation) Resize(n int64) bool {
	b := r.Budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > r.bytes {
		otherBytes := b.used - r.bytes
		platformBytes := b.byPlatform[r.Platform] - r.bytes
		switch {
		case r.released:
			return false
		case otherBytes == 0:
		case otherBytes+n > b.limit, platformBytes > 0 && platformBytes+n > b.limit-b.limit/8:
			return false
		}
	}
	r.set(n)
	return true
}

// Bytes returns the reserved bytes.
func (r *Reservation) Bytes() int64 {
	r.Budget.mu.Lock()
	defer r.Budget.mu.Unlock()
	return r.bytes
}

func (r *Reservation) set(n int64) {
	b := r.Budget
	more := n - r.bytes
	if more == 0 {
		return
	}
	r.bytes = n
	b.used += more
	if b.byPlatform[r.Platform] += more; b.byPlatform[r.Platform] == 0 {
		delete(b.byPlatform, r.Platform)
	}
}

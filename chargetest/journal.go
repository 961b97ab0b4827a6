package chargetest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unsafe"

	"example.com/chargeingest"
)

// journal is guarded by Server.mu.
type journal struct {
	limit    int        // 0 means none, also for the bytes
	list     []*Request // the latest ones, in order of arrival
	received int
	bytes    int

	rejected        []*Request // of list, in any order
	rejectedDropped int        // no longer in list
}

func (j *journal) add(r *Request) {
	j.received++
	r.Number = j.received
	j.list = append(j.list, r)
	j.resize(r)
}

const maxJournalBytes = 64 << 20

// resize must follow a change of r.
func (j *journal) resize(r *Request) {
	if j.get(r.Number) != r {
		return
	}
	const fieldBytes = 64
	before := r.size
	r.size = 2*len(r.Body) + len(r.ResponseBody) + len(r.Events)*int(unsafe.Sizeof(chargeingest.ChargeEvent{}))
	for name, values := range r.Header {
		for _, value := range values {
			r.size += len(name) + len(value) + fieldBytes
		}
	}
	j.bytes += r.size - before
	for j.limit > 0 && len(j.list) > 1 && (len(j.list) > j.limit || j.bytes > maxJournalBytes) {
		j.dropOldest()
	}
}

func (j *journal) dropOldest() {
	dropped := j.list[0]
	j.bytes -= dropped.size
	j.list[0] = nil
	j.list = j.list[1:]
	if i := slices.Index(j.rejected, dropped); i >= 0 {
		j.rejected = slices.Delete(j.rejected, i, i+1)
		j.rejectedDropped++
	}
}

// get returns nil if request n was dropped.
func (j *journal) get(n int) *Request {
	if i := n - 1 - j.dropped(); i >= 0 && i < len(j.list) {
		return j.list[i]
	}
	return nil
}

func (j *journal) dropped() int { return j.received - len(j.list) }

func (j *journal) addRejected(r *Request) {
	if j.get(r.Number) == r {
		j.rejected = append(j.rejected, r)
	} else {
		j.rejectedDropped++
	}
}

func (j *journal) rejectedCount() int { return len(j.rejected) + j.rejectedDropped }

// Requests returns all requests since New or Reset, in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.journal.list))
	for i, r := range s.journal.list {
		list[i] = *r
	}
	return list
}

func (s *Server) countRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.received
}

// Dump returns all stored events and requests as text.
func (s *Server) Dump() string {
	s.t.Helper()
	stored := new(search)
	err := s.refresh(stored)
	if err != nil && !errors.Is(err, errClosed) {
		s.errorf("%v", err)
	}
	return s.dump(stored, err, math.MaxInt)
}

func (s *Server) dump(stored *search, err error, maxLines int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "clock: %s\n", s.Now().Format(time.RFC3339Nano))
	if err != nil {
		fmt.Fprintf(&b, "stored: %v\n", err)
	} else {
		fmt.Fprintf(&b, "stored: %d\n", len(stored.found))
		writeLast(&b, stored.found, maxLines)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&b, "requests: %d\n", s.journal.received)
	if n := s.journal.dropped(); n > 0 {
		fmt.Fprintf(&b, "  … %d dropped\n", n)
	}
	writeLast(&b, s.journal.list, maxLines)
	return b.String()
}

func writeLast[T any](w io.Writer, list []T, maxLines int) {
	if omitted := len(list) - maxLines; omitted > 0 {
		_, _ = fmt.Fprintf(w, "  … %d more\n", omitted)
		list = list[omitted:]
	}
	for _, item := range list {
		_, _ = fmt.Fprintf(w, "  %v\n", item)
	}
}

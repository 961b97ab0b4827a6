package chargetest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Requests returns all requests since New or Reset, in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.journal))
	for i, r := range s.journal {
		list[i] = *r
	}
	return list
}

func (s *Server) countRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.journal)
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
	fmt.Fprintf(&b, "requests: %d\n", len(s.journal))
	writeLast(&b, s.journal, maxLines)
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

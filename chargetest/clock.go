package chargetest

import (
	"errors"
	"time"
)

// Now returns the time of the server's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// now must be called with s.mu held.
func (s *Server) now() time.Time {
	if s.options.RealTime {
		return time.Now().UTC().Add(s.advanced)
	}
	now := s.options.StartTime.Add(s.advanced)
	if s.options.RunningClock {
		now = now.Add(time.Since(s.clockStart))
	}
	return now
}

// Advance moves the server's clock forward by d.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	if err := s.setClock(func(now time.Time) time.Time { return now.Add(d) }); err != nil {
		s.errorf("Advance(%s): %v", d, err)
	}
}

var (
	errClockBack = errors.New("the clock cannot go back")
	errClockEnd  = errors.New("the clock cannot be set to more than 292 years after its start, or to a year after 9999")
)

func (s *Server) setClock(next func(now time.Time) time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	to := next(now)
	d := to.Sub(now)
	switch {
	case d < 0:
		return errClockBack
	case !now.Add(d).Equal(to), s.advanced+d < 0, to.UTC().Year() > 9999:
		return errClockEnd
	}
	s.advanced += d
	return nil
}

package chargetest

import "time"

// Now returns the time of the server's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// now must be called with s.mu held.
func (s *Server) now() time.Time {
	now := s.options.StartTime.Add(s.advanced)
	if s.options.RunningClock {
		now = now.Add(time.Since(s.clockStart))
	}
	return now
}

// Advance moves the server's clock forward by d.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	if d < 0 {
		s.errorf("Advance(%s): the clock cannot go back", d)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced += d
}

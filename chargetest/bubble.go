package chargetest

import (
	"errors"
	"time"
)

// inBubble says that the goroutine is in a bubble of testing/synctest: only there
// the time of the clock has no monotonic reading.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:staticcheck // Equal does not see the reading
}

// limited is a test with a deadline.
type limited interface {
	Deadline() (deadline time.Time, ok bool)
}

// isOfBubble says that a test is that of a bubble: it panics when it is asked for
// its deadline.
func isOfBubble(t limited) (is bool) {
	defer func() { is = recover() != nil }()
	t.Deadline()
	return false
}

var (
	errOutside = errors.New("the server was made outside of the bubble of testing/synctest that calls it: make it inside, with the bubble's *testing.T")
	errInside  = errors.New("the server was made in a bubble of testing/synctest, and is called from outside")
)

// checkBubble returns an error unless the goroutine is in the server's bubble, or
// both are in none. The runtime ends the process if a channel of a bubble is used
// outside of it.
func (s *Server) checkBubble() error {
	switch in := inBubble(); {
	case in && !s.bubbled:
		return errOutside
	case !in && s.bubbled:
		return errInside
	}
	return nil
}

// strayed tells t, and says, that the goroutine is not where the server is.
func (s *Server) strayed(t Tester) bool {
	t.Helper()
	err := s.checkBubble()
	if err != nil {
		s.report(t, "%v", err)
	}
	return err != nil
}

package chargetest

import (
	"errors"
	"time"
)

// inBubble reports whether the goroutine is in a bubble of testing/synctest. Only
// there time.Now has no monotonic reading.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:staticcheck // Equal does not see the reading
}

// limited is a test with a deadline.
type limited interface {
	Deadline() (deadline time.Time, ok bool)
}

// isOfBubble reports whether a test is that of a bubble. Its Deadline method panics.
func isOfBubble(t limited) (is bool) {
	defer func() { is = recover() != nil }()
	t.Deadline()
	return false
}

var (
	errOutside = errors.New("the server was made outside of this bubble of testing/synctest: make it inside, with the bubble's *testing.T")
	errInside  = errors.New("the server was made in a bubble of testing/synctest, and is called from outside")
)

// checkBubble returns an error if only one of the goroutine and the server is in a
// bubble. The runtime ends the process if a channel of a bubble is used outside.
func (s *Server) checkBubble() error {
	switch in := inBubble(); {
	case in && !s.bubbled:
		return errOutside
	case !in && s.bubbled:
		return errInside
	}
	return nil
}

// strayed reports whether only one of the goroutine and the server is in a bubble,
// and fails t if so.
func (s *Server) strayed(t TB) bool {
	t.Helper()
	err := s.checkBubble()
	if err != nil {
		s.report(t, "%v", err)
	}
	return err != nil
}

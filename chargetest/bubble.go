package chargetest

import (
	"errors"
	"time"
)

// inBubble reports whether the goroutine is in a bubble of testing/synctest. Only there
// does time.Now have no monotonic reading.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:staticcheck // Equal ignores the monotonic reading
}

type deadliner interface {
	Deadline() (deadline time.Time, ok bool)
}

// isBubbleTest reports whether t is the *testing.T of a bubble, whose Deadline panics.
func isBubbleTest(t deadliner) (is bool) {
	defer func() { is = recover() != nil }()
	t.Deadline()
	return false
}

var (
	errServerOutside = errors.New("the server was created outside of this synctest bubble: create it inside, with the bubble's *testing.T")
	errServerInside  = errors.New("the server was created in a synctest bubble and is called from outside")
)

// checkBubble returns an error unless the goroutine and the server are in the same bubble
// or both outside. The runtime ends the process if a bubble's channel is used outside.
func (s *Server) checkBubble() error {
	switch in := inBubble(); {
	case in && !s.inBubble:
		return errServerOutside
	case !in && s.inBubble:
		return errServerInside
	}
	return nil
}

// wrongBubble reports whether [Server.checkBubble] fails, and fails t if so.
func (s *Server) wrongBubble(t TB) bool {
	t.Helper()
	err := s.checkBubble()
	if err != nil {
		s.report(t, "%v", err)
	}
	return err != nil
}

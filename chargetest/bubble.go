package chargetest

import (
	"errors"
	"time"
)

func inBubble() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:staticcheck // Equal ignores the monotonic reading
}

type deadliner interface {
	Deadline() (deadline time.Time, ok bool)
}

func isBubbleTest(t deadliner) (is bool) {
	defer func() { is = recover() != nil }()
	t.Deadline()
	return false
}

var (
	errServerOutside = errors.New("the server was created outside of this synctest bubble: create it inside, with the bubble's *testing.T")
	errServerInside  = errors.New("the server was created in a synctest bubble and is called from outside")
)

// A bubble's channels are fatal outside.
func (s *Server) checkBubble() error {
	switch in := inBubble(); {
	case in && !s.inBubble:
		return errServerOutside
	case !in && s.inBubble:
		return errServerInside
	}
	return nil
}

func (s *Server) wrongBubble(t TB) bool {
	t.Helper()
	err := s.checkBubble()
	if err != nil {
		s.report(t, "%v", err)
	}
	return err != nil
}

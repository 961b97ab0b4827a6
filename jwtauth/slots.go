package jwtauth

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// The context of a request can outlive its client.
const maxSlotWait = 5 * time.Second

type slots chan struct{}

func newSlots() slots { return make(slots, max(1, runtime.GOMAXPROCS(0)/2)) }

func (s slots) acquire(ctx context.Context) error {
	const ended = "jwtauth: the request ended before its token was verified: %w"
	if err := ctx.Err(); err != nil {
		return fmt.Errorf(ended, err)
	}
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(maxSlotWait)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("jwtauth: too many tokens: the token was not verified within %s", maxSlotWait)
	case <-ctx.Done():
		return fmt.Errorf(ended, ctx.Err())
	}
}

func (s slots) release() { <-s }

package groupcommit

import (
	"errors"
	"fmt"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// Request is a batch that a caller of [Queue.Append] waits for.
type Request struct {
	storekit.Attempt
	done chan Result // has room for one, so that Finish never blocks

	bytes int            // of content
	queue *platformQueue // nil unless queued
	node  node[Request]  // in queue.requests
}

// Result is the outcome of a request.
type Result struct {
	chargeingest.AppendResult
	Err error
}

func newRequest(a storekit.Attempt) *Request {
	r := &Request{Attempt: a, done: make(chan Result, 1)}
	for i := range a.Events {
		r.bytes += len(a.Events[i].Content)
	}
	return r
}

// Finish returns a result to the caller. Only the first one counts.
func (r *Request) Finish(result Result) {
	select {
	case r.done <- result:
	default:
	}
}

func (r *Request) events() int { return max(1, len(r.Batch.Events)) } // an empty one counts

// IsRejection reports whether err rejects a single batch, before anything was written.
func IsRejection(err error) bool {
	return errors.As(err, new(*chargeingest.ConflictError)) || errors.Is(err, chargeingest.ErrNotStored)
}

// OutcomeUnknown wraps the error of a transaction that may have been committed.
func OutcomeUnknown(cause error) error {
	return fmt.Errorf("%w: %w", chargeingest.ErrOutcomeUnknown, cause)
}

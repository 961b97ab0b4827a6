package chargeingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
)

// maxKeyLength is the most characters of an idempotency key.
const maxKeyLength = 255

// serveIngest serves a POST: read, validate, store, respond.
func (h *Handler) serveIngest(x *exchange) error {
	gzipped, err := checkMedia(x)
	if err != nil {
		return err
	}
	x.held.Platform = x.platform
	buf, err := h.readBody(x, gzipped)
	defer func() {
		// After an error of HTTP/2 another goroutine may still be reading the response.
		if !x.broken {
			h.buffers.put(buf)
		}
	}()
	if err != nil {
		return err
	}
	size := int64(buf.Len())
	if size > firstPiece || gzipped {
		x.held.Resize(size) // of a smaller body as much is reserved
	}
	x.comparison = limits.Comparison{Gate: h.validator.gate, Reservation: &x.held, BodyBytes: size}
	key, badKey := idempotencyKey(x.r)
	receipt, err := h.ingest(x.r.Context(), ingestion{
		platform: x.platform, route: x.route, key: key, wrong: badKey, body: buf, whole: true,
		comparison: &x.comparison,
	})
	if err != nil {
		return err
	}
	x.events = len(receipt.Outcomes)
	for i := range receipt.Outcomes {
		if receipt.Outcomes[i].Replayed {
			x.replayed++
		}
	}
	if x.replayed == x.events {
		x.header().Set("Idempotent-Replayed", "true")
	}
	if x.route == RouteBatch {
		x.header().Set("Idempotent-Replayed-Count", strconv.Itoa(x.replayed))
	}
	x.respond(http.StatusCreated, ingestResponse(x.route, receipt.Outcomes), buf)
	return nil
}

func tooManyBytesError() error {
	return unavailableError("too many requests at once; nothing was stored, send again", nil)
}

// idempotencyKey returns the key of a request, or what is wrong with it.
func idempotencyKey(r *http.Request) (string, []Violation) {
	keys := r.Header.Values("Idempotency-Key")
	switch {
	case len(keys) == 0:
		return "", nil
	case len(keys) == 1 && isVisibleASCII(keys[0], maxKeyLength):
		// A store keeps it, and frameworks on fasthttp write over the memory of
		// a request that was answered.
		return strings.Clone(keys[0]), nil
	}
	return "", []Violation{{
		Code: CodeInvalidField, Field: "Idempotency-Key",
		Message: "Idempotency-Key must be one header of 1 to 255 visible ASCII characters",
	}}
}

// ingestion is a body on its way into the store.
type ingestion struct {
	platform string
	route    Route
	key      string
	wrong    []Violation   // of the key
	body     *bytes.Buffer // overwritten

	// whole is set if the request has been read. Its client may have closed its side
	// of the connection, which ends the request's context, and wait for the response;
	// one that is gone will send again. Neither makes the outcome unknown.
	whole bool

	comparison *limits.Comparison
}

// ingest validates and stores a body.
func (h *Handler) ingest(ctx context.Context, in ingestion) (AppendResult, error) {
	now := h.cfg.Now()
	records, err := h.validator.validate(ctx, in.platform, in.body.Bytes(), in.route, now)
	if in.body.Cap() > keptBody {
		*in.body = bytes.Buffer{} // while the request waits to be stored
	}
	var invalid *Error
	if wrong := in.wrong; len(wrong) > 0 && (err == nil || errors.As(err, &invalid) && len(invalid.Violations) > 0) {
		if invalid != nil {
			wrong = slices.Concat(wrong, invalid.Violations)
		}
		return AppendResult{}, violationsError(wrong[:min(len(wrong), maxViolations)])
	}
	if err != nil {
		return AppendResult{}, err
	}
	b := Batch{
		Platform: in.platform, Route: in.route, IdempotencyKey: in.key,
		Duplicates: h.cfg.Duplicates, Events: records,
	}
	if in.key != "" {
		b.Digest = requestDigest(in.route, b.Events)
	}
	if in.whole {
		ctx = h.deadlines.Context(ctx)
	}
	receipt, err := h.cfg.Store.Append(limits.WithComparison(ctx, in.comparison), b)
	if err != nil {
		return AppendResult{}, appendError(err, &b)
	}
	if len(receipt.Outcomes) != len(b.Events) {
		return AppendResult{}, errors.New("store returned a receipt of another length than the batch")
	}
	return receipt, nil
}

// appendError is the answer to a store that did not take a batch.
func appendError(err error, b *Batch) *Error {
	var conflict *ConflictError
	switch {
	case errors.As(err, &conflict):
		return conflictError(conflict, b)
	case errors.Is(err, ErrResponseTooLarge):
		return answerTooLargeError(err)
	case errors.Is(err, ErrClosed):
		return unavailableError("the service is shutting down; nothing was stored, send again", err)
	case errors.Is(err, ErrOverloaded):
		return unavailableError("too much is waiting to be stored; nothing was stored, send again", err)
	case errors.Is(err, ErrNotStored):
		return unavailableError("the events could not be stored; nothing was stored, send again", err)
	}
	if !errors.Is(err, ErrOutcomeUnknown) {
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	if isRepeatable(b) {
		return unavailableError("it is not known whether the events were stored; sending the same request again is safe", err)
	}
	return internalError(err)
}

// isRepeatable says that a batch may be sent again though it may be stored.
func isRepeatable(b *Batch) bool {
	return b.IdempotencyKey != "" ||
		!slices.ContainsFunc(b.Events, func(e NewEvent) bool { return e.Reference == "" })
}

func conflictError(c *ConflictError, b *Batch) *Error {
	differing := "; the request differs from it"
	if len(c.Fields) > 0 {
		differing = "; they differ in " + enumerate(c.Fields)
	}
	var e *Error
	if c.IdempotencyKey {
		e = fieldError(CodeIdempotencyCheckFailed, "Idempotency-Key",
			"this Idempotency-Key was used for another request"+differing)
	} else {
		field := "reference"
		if b.Route == RouteBatch {
			field = batchField + "." + strconv.Itoa(c.Index) + ".reference"
		}
		other := "an earlier event of this request"
		if c.EventID != "" {
			other = "event " + c.EventID
		}
		e = fieldError(CodeResourceAlreadyExists, field,
			field+" is the reference of "+other+", which has other content"+differing)
		e.ResourceID = c.EventID
	}
	e.cause = c
	return e
}

// enumerate names the first of many fields.
func enumerate(fields []string) string {
	const enough = 1000 // bytes; the message stands in the answer twice
	text := limits.Shorten(fields[0])
	for i, f := range fields[1:] {
		if len(text) > enough {
			return text + " and " + strconv.Itoa(len(fields)-1-i) + " more"
		}
		text += ", " + limits.Shorten(f)
	}
	return text
}

// ingestResponse is the body of a 201.
func ingestResponse(route Route, outcomes []Outcome) eventsResponse {
	r := eventsResponse{tail: "\n", outcomes: outcomes}
	if route == RouteBatch {
		r.head, r.tail = `{"`+batchField+`":[`, "]}\n"
	}
	return r
}

// IngestRequest is what [Handler.Ingest] takes in.
type IngestRequest struct {
	// Platform that the events belong to; required.
	Platform string

	// IdempotencyKey makes events without references repeatable: 1–255 visible
	// ASCII characters, or empty for none.
	IdempotencyKey string

	// Events, all or nothing; at least one, at most MaxBatchEvents.
	Events []ChargeEvent
}

// IngestResult is what [Handler.Ingest] stored or found stored.
type IngestResult struct {
	// Events as they are stored, in the order of the request.
	Events []ChargeEvent

	// Replayed says of each event whether it had been stored before.
	Replayed []bool
}

// Ingest takes events in that are in the process already: the same validation,
// duplicates and durability as a POST of the batch, without HTTP or an
// Authorizer. A refusal is an [*Error] with the status, code and fields that
// the client of the endpoint would see.
//
// Sending the same request again is safe after an error whose RetryAfter is
// set; after any other 5xx it is not known whether the events are stored.
func (h *Handler) Ingest(ctx context.Context, req IngestRequest) (result IngestResult, err error) {
	if req.Platform == "" {
		return IngestResult{}, errors.New("chargeingest: IngestRequest.Platform is required")
	}
	err = panics.Catch(func() error {
		result, err = h.ingestEvents(ctx, req)
		return err
	})
	var e *Error
	if err != nil && !errors.As(err, &e) {
		err = internalError(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
	}
	if err != nil {
		return IngestResult{}, err
	}
	return result, nil
}

func (h *Handler) ingestEvents(ctx context.Context, req IngestRequest) (IngestResult, error) {
	var wrong []Violation
	if req.IdempotencyKey != "" && !isVisibleASCII(req.IdempotencyKey, maxKeyLength) {
		wrong = []Violation{{
			Code: CodeInvalidField, Field: "Idempotency-Key",
			Message: "Idempotency-Key must be 1 to 255 visible ASCII characters",
		}}
	}
	body, err := batchBody(req.Events)
	if err != nil {
		return IngestResult{}, err
	}
	held := limits.Reservation{Budget: h.inFlight, Platform: req.Platform}
	defer held.Release()
	receipt, err := h.ingest(ctx, ingestion{
		platform: req.Platform, route: RouteBatch, key: req.IdempotencyKey, wrong: wrong, body: bytes.NewBuffer(body),
		comparison: &limits.Comparison{Gate: h.validator.gate, Reservation: &held},
	})
	if err != nil {
		return IngestResult{}, err
	}
	result := IngestResult{Events: make([]ChargeEvent, len(receipt.Outcomes)), Replayed: make([]bool, len(receipt.Outcomes))}
	for i := range receipt.Outcomes {
		o := &receipt.Outcomes[i]
		result.Replayed[i] = o.Replayed
		if result.Events[i], err = o.Event(); err != nil {
			return IngestResult{}, err
		}
	}
	return result, nil
}

// batchBody is the body of a request with these events.
func batchBody(events []ChargeEvent) ([]byte, error) {
	body := []byte(`{"` + batchField + `":[`)
	for i := range events {
		if i > 0 {
			body = append(body, ',')
		}
		text, err := events[i].MarshalJSON()
		if err != nil {
			at := jsontree.JoinPath(batchField, strconv.Itoa(i))
			problem := "holds a string that is not valid UTF-8"
			var member *memberError
			if errors.As(err, &member) {
				at, problem = limits.Shorten(jsontree.JoinPath(at, member.path)), member.problem
			}
			e := fieldError(CodeInvalidField, at, at+" "+problem)
			e.cause = err
			return nil, e
		}
		body = append(body, text...)
	}
	return append(body, "]}"...), nil
}

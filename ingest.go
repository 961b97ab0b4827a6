package chargeingest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
)

const maxKeyLength = 255

func (h *Handler) serveIngest(req *request) error {
	gzipped, err := checkMedia(req)
	if err != nil {
		return err
	}
	req.held.Platform = req.platform
	buf, err := h.readBody(req, gzipped)
	defer func() {
		// After an HTTP/2 error another goroutine may still read the response.
		if !req.broken {
			h.buffers.put(buf)
		}
	}()
	if err != nil {
		return err
	}
	size := int64(buf.Len())
	if size > firstBuffer || gzipped {
		req.held.Resize(size) // readBody reserved more
	}
	req.comparison = limits.Comparison{Gate: h.validator.gate, Reservation: &req.held, BodyBytes: size}
	key, badKey := idempotencyKey(req.r)
	result, err := h.ingest(req.r.Context(), ingestion{
		platform: req.platform, route: req.route, key: key, violations: badKey, body: buf, detached: true,
		comparison: &req.comparison,
	})
	if err != nil {
		return err
	}
	req.events = len(result.Outcomes)
	for i := range result.Outcomes {
		if result.Outcomes[i].Replayed {
			req.replayed++
		}
	}
	if req.replayed == req.events {
		req.header().Set("Idempotent-Replayed", "true")
	}
	if req.route == RouteBatch {
		req.header().Set("Idempotent-Replayed-Count", strconv.Itoa(req.replayed))
	}
	req.respondEvents(http.StatusCreated, ingestResponse(req.route, result.Outcomes), buf)
	return nil
}

func tooManyBytesError() error {
	return unavailableError("too many requests at once; nothing was stored, send the request again", nil)
}

func idempotencyKey(r *http.Request) (string, []Violation) {
	keys := r.Header["Idempotency-Key"]
	switch {
	case len(keys) == 0:
		return "", nil
	case len(keys) == 1 && isVisibleASCII(keys[0], maxKeyLength):
		// A store keeps the key, and frameworks on fasthttp reuse the memory of a request.
		return strings.Clone(keys[0]), nil
	}
	return "", []Violation{{
		Code: CodeInvalidField, Field: "Idempotency-Key",
		Message: "Idempotency-Key must be one header of 1 to 255 visible ASCII characters",
	}}
}

type ingestion struct {
	platform   string
	route      Route
	key        string
	violations []Violation // of the key
	body       *bytes.Buffer

	// detached requests were read completely. The end of the context does not stop them:
	// the client may have closed its side of the connection and still read the response.
	detached bool

	comparison *limits.Comparison
}

func (h *Handler) ingest(ctx context.Context, in ingestion) (AppendResult, error) {
	now := h.cfg.Now()
	events, err := h.validator.validate(ctx, in.platform, in.body.Bytes(), in.route, now)
	if in.body.Cap() > maxPooledBuffer {
		*in.body = bytes.Buffer{} // frees the memory while the request waits
	}
	if found := in.violations; len(found) > 0 {
		var invalid *Error
		if errors.As(err, &invalid) {
			found = slices.Concat(found, invalid.Violations)
		}
		if err == nil || len(found) > len(in.violations) {
			err = violationsError(found[:min(len(found), maxViolations)])
		}
	}
	if err != nil {
		return AppendResult{}, err
	}
	b := Batch{
		Platform: in.platform, Route: in.route, IdempotencyKey: in.key,
		Duplicates: h.cfg.Duplicates, Events: events,
	}
	if in.key != "" {
		b.Digest = requestDigest(in.route, b.Events)
	}
	if in.detached {
		ctx = h.deadlines.Context(ctx, in.comparison)
	} else {
		ctx = limits.WithComparison(ctx, in.comparison)
	}
	return h.append(ctx, b)
}

// append stores a batch. Its errors are *Error.
func (h *Handler) append(ctx context.Context, b Batch) (AppendResult, error) {
	var result AppendResult
	returned := false
	err := panics.Catch(func() (err error) {
		result, err = h.cfg.Store.Append(ctx, b)
		returned = true
		return err
	})
	switch {
	case !returned:
		return AppendResult{}, outcomeUnknownError(err)
	case err != nil:
		return AppendResult{}, appendError(err, &b)
	case len(result.Outcomes) != len(b.Events):
		return AppendResult{}, outcomeUnknownError(errors.New("store returned a result with a different number of events"))
	}
	for i := range result.Outcomes {
		if err := result.Outcomes[i].check(); err != nil {
			return AppendResult{}, outcomeUnknownError(err)
		}
	}
	return result, nil
}

func appendError(err error, b *Batch) *Error {
	var conflict *ConflictError
	var rejection *Error
	switch {
	case errors.Is(err, ErrNotStored) && errors.As(err, &rejection) && rejection.Status/100 == 4:
		return rejection
	case errors.As(err, &conflict):
		return conflictError(conflict, b)
	case errors.Is(err, ErrResponseTooLarge):
		return responseTooLargeError(err)
	case errors.Is(err, ErrClosed):
		return unavailableError("the service is shutting down; nothing was stored, send the request again", err)
	case errors.Is(err, ErrOverloaded):
		return unavailableError("too many events are waiting to be stored; nothing was stored, send the request again", err)
	case errors.Is(err, ErrNotStored):
		return unavailableError("the events could not be stored; nothing was stored, send the request again", err)
	}
	if isRepeatable(b) {
		return unavailableError("it is unknown whether the events were stored; sending the same request again is safe", asOutcomeUnknown(err))
	}
	return outcomeUnknownError(err)
}

func isRepeatable(b *Batch) bool {
	return b.IdempotencyKey != "" ||
		!slices.ContainsFunc(b.Events, func(e NewEvent) bool { return e.Reference == "" })
}

func conflictError(c *ConflictError, b *Batch) *Error {
	differing := ""
	if len(c.Fields) > 0 {
		differing = " (differs in: " + enumerate(c.Fields) + ")"
	}
	var e *Error
	if c.IdempotencyKey {
		e = fieldError(CodeIdempotencyCheckFailed, "Idempotency-Key",
			"this Idempotency-Key was used for a different request"+differing)
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
			field+" is already used by "+other+" with different content"+differing)
		e.ResourceID = c.EventID
	}
	e.cause = c
	return e
}

func enumerate(fields []string) string {
	const maxLength = 1000 // bytes; the response has the message twice
	text := quoteEmpty(limits.Shorten(fields[0]))
	for i, f := range fields[1:] {
		if len(text) > maxLength {
			return text + " and " + strconv.Itoa(len(fields)-1-i) + " more"
		}
		text += ", " + quoteEmpty(limits.Shorten(f))
	}
	return text
}

func quoteEmpty(name string) string {
	if name == "" {
		return `""`
	}
	return name
}

func ingestResponse(route Route, outcomes []Outcome) eventsResponse {
	r := eventsResponse{tail: "\n", outcomes: outcomes}
	if route == RouteBatch {
		r.head, r.tail = `{"`+batchField+`":[`, "]}\n"
	}
	return r
}

// IngestRequest is the input of [Handler.Ingest].
type IngestRequest struct {
	// Platform is the tenant that owns the events. It is required.
	Platform string

	// IdempotencyKey, which may be empty, makes retries safe for events without
	// references: up to 255 visible ASCII characters.
	IdempotencyKey string

	// Events are stored together or not at all: one to MaxBatchEvents.
	Events []ChargeEvent
}

// IngestResult is the result of [Handler.Ingest].
type IngestResult struct {
	// Events are stored, in the order of the request.
	Events []ChargeEvent

	// Replayed reports for each event whether it had been stored before.
	Replayed []bool
}

// Ingest stores events without HTTP and without the Authorizer. Otherwise, validation,
// duplicates, durability and errors are the same as for a POST of the batch: a rejection
// is an [*Error] with the status, code and fields of the response.
//
// MaxBodyBytes and MaxInFlightBytes do not apply, and only ctx limits the wait for the
// store.
//
// Retrying is safe if the RetryAfter of the error is set. Without it, a 5xx whose outcome
// is unknown is an ErrOutcomeUnknown.
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
		err = internalError(err)
	}
	if err != nil {
		return IngestResult{}, err
	}
	return result, nil
}

func (h *Handler) ingestEvents(ctx context.Context, req IngestRequest) (IngestResult, error) {
	var violations []Violation
	if req.IdempotencyKey != "" && !isVisibleASCII(req.IdempotencyKey, maxKeyLength) {
		violations = []Violation{{
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
	stored, err := h.ingest(ctx, ingestion{
		platform: req.Platform, route: RouteBatch, key: req.IdempotencyKey, violations: violations, body: bytes.NewBuffer(body),
		comparison: &limits.Comparison{Gate: h.validator.gate, Reservation: &held},
	})
	if err != nil {
		return IngestResult{}, err
	}
	result := IngestResult{Events: make([]ChargeEvent, len(stored.Outcomes)), Replayed: make([]bool, len(stored.Outcomes))}
	for i := range stored.Outcomes {
		o := &stored.Outcomes[i]
		result.Replayed[i] = o.Replayed
		if result.Events[i], err = o.Event(); err != nil {
			return IngestResult{}, outcomeUnknownError(err)
		}
	}
	return result, nil
}

func batchBody(events []ChargeEvent) ([]byte, error) {
	body := []byte(`{"` + batchField + `":[`)
	for i := range events {
		if i > 0 {
			body = append(body, ',')
		}
		text, err := events[i].MarshalJSON()
		if err != nil {
			at := jsontree.JoinPath(batchField, strconv.Itoa(i))
			problem := "has a string that is not valid UTF-8"
			var invalid *extraFieldError
			if errors.As(err, &invalid) {
				at, problem = limits.Shorten(jsontree.JoinPath(at, invalid.path)), invalid.problem
			}
			e := fieldError(CodeInvalidField, at, at+" "+problem)
			e.cause = err
			return nil, e
		}
		body = append(body, text...)
	}
	return append(body, "]}"...), nil
}

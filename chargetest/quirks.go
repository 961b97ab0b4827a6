package chargetest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

// Quirks are rules beyond the contract, with sources in docs/fidelity.md. They do not apply to
// Seed.
type Quirks struct {
	// in characters; empty references stay valid
	MinReferenceLength int

	// MaxFutureSkew limits how far timestamps may be ahead of the time of receipt.
	MaxFutureSkew time.Duration

	// WholeSeconds rejects timestamps and periods with fractions of a second.
	WholeSeconds bool

	MaxBatchEvents int

	// ReturnOriginal responds to a stored reference with the stored event, even if contents
	// differ.
	ReturnOriginal bool

	// Catalogue rejects customers, subscriptions and products that are not in
	// [Server.Catalogue].
	Catalogue bool

	// RateLimit applies to all requests, before authorization.
	RateLimit RateLimit
}

// RateLimit is a number of requests per window of the server's clock, from the first request.
type RateLimit struct {
	Requests int
	Window   time.Duration
}

// VendorQuirks returns all known quirks. The rate limit of 100 requests per second is assumed.
func VendorQuirks() Quirks {
	return Quirks{
		MinReferenceLength: 10, MaxFutureSkew: 30 * time.Minute, WholeSeconds: true, MaxBatchEvents: 50,
		ReturnOriginal: true, Catalogue: true, RateLimit: RateLimit{Requests: 100, Window: time.Second},
	}
}

func (q Quirks) check() error {
	switch rate := q.RateLimit; {
	case q.MinReferenceLength < 0 || q.MinReferenceLength > maxReferenceLength:
		return fmt.Errorf("Quirks.MinReferenceLength must be from 0 (off) to %d, not %d", maxReferenceLength, q.MinReferenceLength)
	case q.MaxFutureSkew < 0:
		return fmt.Errorf("Quirks.MaxFutureSkew must be 0 (off) or longer, not %s", q.MaxFutureSkew)
	case q.MaxBatchEvents < 0:
		return fmt.Errorf("Quirks.MaxBatchEvents must be 0 (off) or more, not %d", q.MaxBatchEvents)
	case rate != RateLimit{} && (rate.Requests < 1 || rate.Window <= 0):
		return errors.New("Quirks.RateLimit must be zero (off), or have Requests of 1 or more and a Window longer than 0")
	}
	return nil
}

const (
	maxReferenceLength = 256
	maxViolations      = 100

	codeResourcesNotFound chargeingest.Code = "RESOURCES_NOT_FOUND"
)

// Quirks returns the current quirks.
func (s *Server) Quirks() Quirks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quirks.Quirks
}

// SetQuirks returns an error that names an invalid field.
func (s *Server) SetQuirks(q Quirks) error {
	if err := q.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.RateLimit != s.quirks.RateLimit {
		s.quirks.window = window{}
	}
	s.quirks.Quirks = q
	return nil
}

// Catalogue lists customers, subscriptions and products (of product_item_id) by id or
// reference.
type Catalogue struct {
	Customers, Subscriptions, Products []string
}

// Catalogue returns the current catalogue.
func (s *Server) Catalogue() Catalogue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quirks.catalogue.with(Catalogue{})
}

// SetCatalogue replaces the catalogue.
func (s *Server) SetCatalogue(c Catalogue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks.catalogue = Catalogue{}.with(c)
}

// AddToCatalogue adds entries to the catalogue.
func (s *Server) AddToCatalogue(c Catalogue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks.catalogue = s.quirks.catalogue.with(c)
}

func (c Catalogue) with(added Catalogue) Catalogue {
	join := func(a, b []string) []string {
		joined := slices.Concat(a, b)
		slices.Sort(joined)
		return slices.Compact(joined)
	}
	return Catalogue{
		join(c.Customers, added.Customers), join(c.Subscriptions, added.Subscriptions), join(c.Products, added.Products),
	}
}

type quirkState struct {
	Quirks
	catalogue Catalogue
	window    window
}

type window struct {
	end  time.Time
	used int
}

func (s *Server) rateLimited(c *call) *response {
	s.mu.Lock()
	now, w, limit := s.now(), &s.quirks.window, c.quirks.RateLimit
	if limit.Requests == 0 || limit != s.quirks.RateLimit {
		s.mu.Unlock()
		return nil
	}
	if w.end.IsZero() || !now.Before(w.end) {
		*w = window{end: now.Add(limit.Window)}
	}
	w.used++
	used, remaining := w.used, w.end.Sub(now)
	s.mu.Unlock()
	if used <= limit.Requests {
		return nil
	}
	c.quirk = "RateLimit"
	message := fmt.Sprintf("the limit is %s per %s", countOf(limit.Requests, "request"), limit.Window)
	res := s.errorResponse(c, Status(http.StatusTooManyRequests).Message(message).RetryAfter(remaining), "")
	res.injected = false
	return res
}

type quirkViolation struct {
	quirk string
	chargeingest.Violation
}

func (q *quirkState) reject(c *call, b *chargeingest.Batch) error {
	found := q.violations(b)
	status := http.StatusBadRequest
	if len(found) == 0 && q.Catalogue {
		found, status = q.unknown(b), http.StatusNotFound
	}
	if len(found) == 0 {
		return nil
	}
	c.quirk = found[0].quirk
	e := &chargeingest.Error{Status: status, Code: found[0].Code, Message: found[0].Message, Field: found[0].Field}
	for _, v := range found[:min(len(found), maxViolations)] {
		e.Violations = append(e.Violations, v.Violation)
	}
	return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, e)
}

func (q *quirkState) violations(b *chargeingest.Batch) []quirkViolation {
	var found []quirkViolation
	add := func(quirk, path, format string, args ...any) {
		found = append(found, quirkViolation{quirk, chargeingest.Violation{
			Code: chargeingest.CodeInvalidField, Field: path, Message: path + fmt.Sprintf(format, args...),
		}})
	}
	if n := len(b.Events); q.MaxBatchEvents > 0 && b.Route == chargeingest.RouteBatch && n > q.MaxBatchEvents {
		add("MaxBatchEvents", "charge_datas", " must have at most %d events, but has %d", q.MaxBatchEvents, n)
	}
	for i := range b.Events {
		e, prefix := &b.Events[i], pathPrefix(b, i)
		if n := len(e.Reference); n > 0 && n < q.MinReferenceLength {
			add("MinReferenceLength", prefix+"reference", " must have at least %d characters, but has %d", q.MinReferenceLength, n)
		}
		if q.WholeSeconds {
			for _, path := range fractional(e) {
				add("WholeSeconds", prefix+path, " must not have a fraction of a second")
			}
		}
		if q.MaxFutureSkew > 0 && !e.TimestampAssigned && e.Timestamp.Sub(e.ReceivedAt) > q.MaxFutureSkew {
			add("MaxFutureSkew", prefix+"timestamp", " must not be more than %s ahead of the time of receipt", q.MaxFutureSkew)
		}
	}
	return found
}

func pathPrefix(b *chargeingest.Batch, i int) string {
	if b.Route != chargeingest.RouteBatch {
		return ""
	}
	return fmt.Sprintf("charge_datas.%d.", i)
}

func fractional(e *chargeingest.NewEvent) (paths []string) {
	ev, err := (&chargeingest.StoredEvent{Content: e.Content}).Event()
	if err != nil {
		return nil // the event is valid
	}
	has := func(path string, text *string) {
		if text != nil && strings.Contains(*text, ".") {
			paths = append(paths, path)
		}
	}
	if ev.Period != nil {
		has("period.start_at", ev.Period.StartAt)
		has("period.end_at", ev.Period.EndAt)
	}
	has("timestamp", ev.Timestamp)
	return paths
}

func (q *quirkState) unknown(b *chargeingest.Batch) []quirkViolation {
	var found []quirkViolation
	for i := range b.Events {
		e, prefix := &b.Events[i], pathPrefix(b, i)
		check := func(known []string, noun, field, value string) {
			if value == "" {
				return
			}
			if _, ok := slices.BinarySearch(known, value); ok {
				return
			}
			found = append(found, quirkViolation{"Catalogue", chargeingest.Violation{
				Code: codeResourcesNotFound, Field: prefix + field,
				Message: fmt.Sprintf("%s%s names an unknown %s: %q", prefix, field, noun, limits.Shorten(value)),
			}})
		}
		check(q.catalogue.Products, "product", "product_item_id", e.ProductItemID)
		check(q.catalogue.Customers, "customer", "customer_id", e.CustomerID)
		check(q.catalogue.Customers, "customer", "customer_reference", e.CustomerReference)
		check(q.catalogue.Subscriptions, "subscription", "pricing_plan_subscription_id", e.PricingPlanSubscriptionID)
		check(q.catalogue.Subscriptions, "subscription", "pricing_plan_subscription_reference", e.PricingPlanSubscriptionReference)
	}
	return found
}

func quirkHint(quirk string) string {
	hint := "by the quirk " + quirk
	if quirk == "Catalogue" {
		hint += ": add what is known with Server.AddToCatalogue or PUT /sandbox/catalogue"
	}
	return hint
}

package relay

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
	"example.com/chargeingest/internal/panics"
)

// APIConfig configures NewAPI. Ledger and Authorizer are required.
type APIConfig struct {
	Ledger Ledger

	// Authorizer authenticates callers, who see and change their own platform only. GET needs
	// PermissionView, POST PermissionIngest.
	Authorizer chargeingest.Authorizer

	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// Logger receives each decision and each internal error. Default: slog.Default().
	Logger *slog.Logger
}

// NewAPI returns the handler of
//
//	GET  /status
//	GET  /entries
//	POST /resolve
//
// below a prefix that you strip with http.StripPrefix: see docs/relay.md.
func NewAPI(cfg APIConfig) (http.Handler, error) {
	switch {
	case cfg.Ledger == nil:
		return nil, errors.New("relay: APIConfig.Ledger is required")
	case cfg.Authorizer == nil:
		return nil, errors.New("relay: APIConfig.Authorizer is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	return api{cfg}, nil
}

type api struct{ cfg APIConfig }

type apiCall struct {
	w        http.ResponseWriter
	r        *http.Request
	subject  string
	platform string
}

func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var result any
	err := panics.Catch(func() (err error) {
		result, err = a.serve(w, r)
		return err
	})
	var text []byte
	if err == nil {
		text, err = json.Marshal(result)
	}
	if err != nil {
		if known := new(chargeingest.Error); !errors.As(err, &known) && r.Context().Err() == nil {
			a.cfg.Logger.ErrorContext(r.Context(), "relay: request failed", "path", r.URL.Path, "error", err)
		}
		httpapi.Fail(w, r, err)
		return
	}
	httpapi.Respond(w, r, http.StatusOK, "application/json", append(text, '\n'))
}

func (a api) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	method, permission := http.MethodGet, chargeingest.PermissionView
	var run func(apiCall) (any, error)
	switch strings.TrimPrefix(r.URL.Path, "/") {
	case "status":
		run = a.status
	case "entries":
		run = a.entries
	case "resolve":
		method, permission, run = http.MethodPost, chargeingest.PermissionIngest, a.resolve
	default:
		return nil, httpapi.NotFound("unknown path; the paths are status, entries and resolve")
	}
	if err := httpapi.Allow(w.Header(), r, method); err != nil {
		return nil, err
	}
	p, platform, err := httpapi.AuthorizePlatform(r, a.cfg.Authorizer, permission)
	if err != nil {
		return nil, err
	}
	return run(apiCall{w, r, cmp.Or(p.Subject, "caller without a name"), platform})
}

func (a api) status(c apiCall) (any, error) {
	if err := httpapi.QueryFields(c.r.URL.RawQuery).Check(); err != nil {
		return nil, err
	}
	list, err := a.cfg.Ledger.Status(c.r.Context(), c.platform)
	return map[string][]Status{"streams": append([]Status{}, list...)}, err
}

const (
	defaultEntries = 100
	maxEntries     = 1000
	maxEventIDs    = 1000
	maxAPIBody     = 1 << 20
)

func (a api) entries(c apiCall) (any, error) {
	f := httpapi.QueryFields(c.r.URL.RawQuery)
	q := EntryQuery{Stream: c.stream(f), Limit: defaultEntries}
	q.EventID = nonEmpty(f, "event_id")
	q.State = EntryState(f.Choice("state", string(Parked), string(Dead), string(Skipped), string(DeliveredState)))
	q.Code = nonEmpty(f, "code")
	q.After = nonEmpty(f, "after")
	if n, ok := f.Whole("limit", 1, maxEntries); ok {
		q.Limit = n
	}
	rejectTogether(f, "event_id", "state", "code", "after")
	if err := f.Check(); err != nil {
		return nil, err
	}
	page, err := a.cfg.Ledger.Entries(c.r.Context(), q)
	switch {
	case errors.Is(err, chargeingest.ErrInvalidCursor):
		f.Reject("after", "must be the value of next of a page with the same fields")
		return nil, f.Err()
	case errors.Is(err, chargeingest.ErrNotFound) && q.EventID != "":
		return nil, httpapi.NotFound("the platform has no such event, or no such destination")
	}
	page.Entries = append([]Entry{}, page.Entries...)
	return page, noDestination(err)
}

func (a api) resolve(c apiCall) (any, error) {
	_, f, err := httpapi.ReadBody(c.w, c.r, maxAPIBody)
	if err != nil {
		return nil, err
	}
	r := Resolution{Stream: c.stream(f), By: c.subject, At: a.cfg.Now()}
	f.Require("action")
	r.Action = Action(f.Choice("action", string(Retry), string(Skip), string(Retire)))
	r.EventIDs = f.Texts("event_ids")
	states := []string{string(Parked), string(Dead), string(Skipped)}
	if r.Action == Skip {
		states = states[:2]
	}
	r.State = EntryState(f.Choice("state", states...))
	r.Code = nonEmpty(f, "code")
	switch {
	case len(r.EventIDs) > maxEventIDs:
		f.Reject("event_ids", "must have at most 1000 ids")
	case f.Has("event_ids") && len(r.EventIDs) == 0:
		f.Reject("event_ids", "must have at least one id")
	case r.Action == Retire:
		for _, name := range f.Given("event_ids", "state", "code") {
			f.Reject(name, "does not apply to retire")
		}
	case !f.Has("event_ids"):
		if !f.Has("state") {
			f.Add(chargeingest.CodeMissingField, "event_ids", "is required, or state")
		}
	}
	rejectTogether(f, "event_ids", "state", "code")
	if err := f.Check(); err != nil {
		return nil, err
	}
	n, err := a.cfg.Ledger.Resolve(c.r.Context(), r)
	if err != nil {
		return nil, noDestination(err)
	}
	a.cfg.Logger.InfoContext(c.r.Context(), "relay: "+string(r.Action), "destination", r.Destination,
		"platform", r.Platform, "by", r.By, "changed", n)
	return map[string]int64{"changed": n}, nil
}

func (c apiCall) stream(f *httpapi.Fields) Stream {
	f.Require("destination")
	return Stream{nonEmpty(f, "destination"), c.platform}
}

func nonEmpty(f *httpapi.Fields, name string) string {
	text, ok := f.Text(name)
	if ok && text == "" {
		f.Reject(name, "must not be empty")
	}
	return text
}

func rejectTogether(f *httpapi.Fields, name string, others ...string) {
	if !f.Has(name) {
		return
	}
	for _, other := range f.Given(others...) {
		f.Reject(other, "does not apply together with "+name)
	}
}

func noDestination(err error) error {
	if errors.Is(err, ErrRetired) {
		return httpapi.NewError(http.StatusConflict, chargeingest.CodeInvalidOperation,
			"the destination was retired: nothing is sent to it any more")
	}
	if errors.Is(err, chargeingest.ErrNotFound) {
		return httpapi.NotFound("no relay has delivered events of the platform to this destination")
	}
	return err
}

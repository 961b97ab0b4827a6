package inspector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/internal/servers"
)

type api struct {
	cfg       Config
	requests  *requestLog
	summaries summaryCache
	recent    recentList
	events    *chargeingest.Handler
	searches  *limits.Gate
	responses *limits.Budget
	streams   streams
	servers   servers.Map[shutdown]
}

// maxResponseBytes bounds the responses that clients have not read yet.
const maxResponseBytes = 64 << 20

func newAPI(cfg Config, requests *requestLog) (*api, error) {
	const maxBodyBytes = 4 << 20
	events, err := chargeingest.New(chargeingest.Config{
		Store: readOnlyStore{cfg.Reader}, Authorizer: cfg.Authorizer, Now: cfg.Now,
		Logger: slog.New(slog.DiscardHandler), MaxBodyBytes: maxBodyBytes, KeepUnknownFields: true,
	})
	if err != nil {
		return nil, fmt.Errorf("inspector: %w", err)
	}
	a := &api{
		cfg: cfg, requests: requests, events: events,
		searches:  limits.NewGate(runtime.GOMAXPROCS(0) / 2),
		responses: limits.NewBudget(maxResponseBytes),
		streams:   streams{limit: cfg.MaxStreams},
	}
	a.servers.New = newShutdown
	return a, nil
}

type readOnlyStore struct{ chargeingest.EventReader }

type normalizedKey struct{}

func (readOnlyStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	if e, ok := ctx.Value(normalizedKey{}).(*chargeingest.NewEvent); ok {
		*e = b.Events[0]
	}
	return chargeingest.AppendResult{}, chargeingest.ErrNotStored
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, path string) {
	collection, id, hasID := strings.Cut(path, "/")
	var get func(viewer, *http.Request) (any, error)
	switch {
	case path == "session":
		get = a.session
	case path == "requests":
		get = a.listRequests
	case path == "overview":
		get = a.overview
	case path == "stream":
		a.authorized(w, r, a.stream)
		return
	case path == "events":
		a.serveEvents(w, r, a.events.ListEvents(), "")
		return
	case collection == "events" && hasID && id != "":
		a.serveEvents(w, r, a.events.GetEvent(), id)
		return
	case collection == "requests" && hasID && id != "":
		get = func(v viewer, r *http.Request) (any, error) { return a.request(v, r, id) }
	default:
		fail(w, r, notFound("unknown path"))
		return
	}
	a.authorized(w, r, func(v viewer, w http.ResponseWriter, r *http.Request) error {
		value, err := get(v, r)
		if err != nil {
			return err
		}
		body, encoded := value.(encodedJSON)
		if !encoded {
			if body, err = json.Marshal(value); err != nil {
				return err
			}
			body = append(body, '\n')
		}
		held := limits.Reservation{Budget: a.responses, Platform: v.platform}
		defer held.Release()
		if !held.Resize(int64(len(body))) {
			return unavailable("too many requests at once", time.Second)
		}
		respond(w, r, http.StatusOK, "application/json", body)
		return nil
	})
}

type encodedJSON []byte

func (a *api) authorized(w http.ResponseWriter, r *http.Request, serve func(viewer, http.ResponseWriter, *http.Request) error) {
	if !allows(w, r) {
		return
	}
	err := panics.Catch(func() error {
		v, err := a.authorize(w.Header(), r)
		if err != nil {
			return err
		}
		return serve(v, w, r)
	})
	if err != nil {
		fail(w, r, err)
	}
}

func (a *api) serveEvents(w http.ResponseWriter, r *http.Request, h http.Handler, id string) {
	r = r.Clone(r.Context())
	r.SetPathValue("version", "")
	r.SetPathValue("id", id)
	h.ServeHTTP(w, r)
}

func (a *api) serveSandbox(w http.ResponseWriter, r *http.Request, path string) {
	err := panics.Catch(func() error {
		_, err := a.authorize(w.Header(), r)
		return err
	})
	if err != nil {
		fail(w, r, err)
		return
	}
	r = r.Clone(r.Context())
	r.URL = &url.URL{Path: "/" + path, RawQuery: r.URL.RawQuery}
	a.cfg.Sandbox.ServeHTTP(w, r)
}

type session struct {
	Subject             string    `json:"subject"`
	Platform            string    `json:"platform"`
	Platforms           []string  `json:"platforms"`
	ShowUnauthenticated bool      `json:"show_unauthenticated"`
	Stats               bool      `json:"stats"`
	Sandbox             bool      `json:"sandbox"`
	Now                 time.Time `json:"now"`
	MaxRequests         int       `json:"max_requests"`
}

func (a *api) session(v viewer, _ *http.Request) (any, error) {
	return session{
		Subject: v.principal.Subject, Platform: v.platform, Platforms: v.principal.Platforms,
		ShowUnauthenticated: a.cfg.ShowUnauthenticated, Stats: a.cfg.Stats != nil, Sandbox: a.cfg.Sandbox != nil,
		Now: a.cfg.Now().UTC(), MaxRequests: a.cfg.MaxRequests,
	}, nil
}

func newError(status int, code chargeingest.Code, message string) *chargeingest.Error {
	return &chargeingest.Error{Status: status, Code: code, Message: message}
}

func notFound(message string) error {
	return newError(http.StatusNotFound, chargeingest.CodeResourceNotFound, message)
}

func unavailable(message string, retryAfter time.Duration) *chargeingest.Error {
	e := newError(http.StatusServiceUnavailable, chargeingest.CodeInternalError, message)
	e.RetryAfter = retryAfter
	return e
}

var errCanceled = unavailable("the request was canceled", time.Second)

type errorBody struct {
	Type    string            `json:"type"`
	Code    chargeingest.Code `json:"code"`
	Message string            `json:"message"`
	Field   string            `json:"field,omitempty"`
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *chargeingest.Error
	if !errors.As(err, &e) {
		e = newError(http.StatusInternalServerError, chargeingest.CodeInternalError, "internal error")
	}
	body := errorBody{Type: "INVALID_REQUEST", Code: e.Code, Message: e.Message, Field: e.Field}
	if e.Status >= http.StatusInternalServerError {
		body.Type = "API_ERROR"
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10))
	}
	text, _ := json.Marshal(body)
	respond(w, r, e.Status, "application/json", append(text, '\n'))
}

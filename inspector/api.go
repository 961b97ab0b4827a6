package inspector

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/internal/servers"
	"example.com/chargeingest/relay"
)

type api struct {
	cfg       Config
	requests  *requestLog
	summaries summaryCache
	recent    recentList
	events    *chargeingest.Handler
	relay     http.Handler // or nil
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
	if cfg.Relay != nil {
		if a.relay, err = relay.NewAPI(relay.APIConfig{Ledger: cfg.Relay, Authorizer: cfg.Authorizer, Now: cfg.Now}); err != nil {
			return nil, fmt.Errorf("inspector: %w", err)
		}
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
		httpapi.Fail(w, r, httpapi.NotFound("unknown path"))
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
			return httpapi.Unavailable("too many requests at once", 0)
		}
		httpapi.Respond(w, r, http.StatusOK, "application/json", body)
		return nil
	})
}

type encodedJSON []byte

func (a *api) authorized(w http.ResponseWriter, r *http.Request, serve func(viewer, http.ResponseWriter, *http.Request) error) {
	if !allows(w, r) {
		return
	}
	err := panics.Catch(func() error {
		v, err := a.authorize(r)
		if err != nil {
			return err
		}
		return serve(v, w, r)
	})
	if err != nil {
		httpapi.Fail(w, r, err)
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
		_, err := a.authorize(r)
		return err
	})
	if err != nil {
		httpapi.Fail(w, r, err)
		return
	}
	serveBelow(w, r, a.cfg.Sandbox, path)
}

func serveBelow(w http.ResponseWriter, r *http.Request, h http.Handler, path string) {
	r = r.Clone(r.Context())
	r.URL = &url.URL{Path: "/" + path, RawQuery: r.URL.RawQuery}
	h.ServeHTTP(w, r)
}

type session struct {
	Subject             string    `json:"subject"`
	Platform            string    `json:"platform"`
	Platforms           []string  `json:"platforms"`
	ShowUnauthenticated bool      `json:"show_unauthenticated"`
	Stats               bool      `json:"stats"`
	Sandbox             bool      `json:"sandbox"`
	Relay               bool      `json:"relay"`
	MayResolve          bool      `json:"may_resolve"` // entries of the relay
	Now                 time.Time `json:"now"`
	MaxRequests         int       `json:"max_requests"`
}

func (a *api) session(v viewer, r *http.Request) (any, error) {
	mayResolve := false
	if a.relay != nil {
		_, err := httpapi.Authorize(r, a.cfg.Authorizer, chargeingest.PermissionIngest)
		mayResolve = err == nil
	}
	return session{
		Subject: v.principal.Subject, Platform: v.platform, Platforms: v.principal.Platforms,
		ShowUnauthenticated: a.cfg.ShowUnauthenticated, Stats: a.cfg.Stats != nil, Sandbox: a.cfg.Sandbox != nil,
		Relay: a.relay != nil, MayResolve: mayResolve,
		Now: a.cfg.Now().UTC(), MaxRequests: a.cfg.MaxRequests,
	}, nil
}

var errCanceled = httpapi.Unavailable("the request was canceled", 0)

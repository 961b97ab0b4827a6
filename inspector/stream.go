package inspector

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"example.com/chargeingest/internal/httpapi"
)

const (
	streamInterval   = 500 * time.Millisecond
	heartbeat        = 15 * time.Second
	reauthorization  = time.Minute
	streamTimeout    = 5 * time.Second
	streamRetryAfter = time.Minute
)

// streams bounds open streams. One platform gets three quarters.
type streams struct {
	limit int

	mu         sync.Mutex
	open       int
	byPlatform map[string]int
}

func (s *streams) acquire(platform string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.limit || s.byPlatform[platform] >= max(1, s.limit*3/4) {
		return false
	}
	if s.byPlatform == nil {
		s.byPlatform = make(map[string]int)
	}
	s.open++
	s.byPlatform[platform]++
	return true
}

// interval limits how often all pages ask for requests.
func (s *streams) interval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return streamInterval * time.Duration(1+s.open/16)
}

func (s *streams) release(platform string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.byPlatform[platform]--; s.byPlatform[platform] == 0 {
		delete(s.byPlatform, platform)
	}
}

func (a *api) stream(v viewer, w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	if r.Method == http.MethodHead {
		h.Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if !a.streams.acquire(v.platform) {
		return httpapi.Unavailable("too many live pages are open; this page asks for updates instead", streamRetryAfter)
	}
	defer a.streams.release(v.platform)
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // ReadTimeout would end the request
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("X-Accel-Buffering", "no")
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close") // a next request would inherit the deadlines
	}
	_ = c.SetWriteDeadline(time.Now().Add(streamTimeout))
	if err := c.Flush(); errors.Is(err, http.ErrNotSupported) {
		h.Del("Connection")
		return httpapi.Unavailable("the service around this page does not support live updates", streamRetryAfter)
	}
	s := stream{api: a, viewer: v, w: w, r: r, control: c, stopping: a.stopping(r)}
	s.run()
	return nil
}

type shutdown struct{ begun chan struct{} }

func newShutdown(*http.Server) (*shutdown, func()) {
	s := &shutdown{make(chan struct{})}
	return s, sync.OnceFunc(func() { close(s.begun) })
}

func (a *api) stopping(r *http.Request) <-chan struct{} {
	if s := a.servers.Of(r); s != nil {
		return s.begun
	}
	return nil
}

type stream struct {
	*api
	viewer   viewer
	w        http.ResponseWriter
	r        *http.Request
	control  *http.ResponseController
	stopping <-chan struct{}
}

func (s *stream) run() {
	beat, check, pause := time.NewTicker(heartbeat), time.NewTicker(reauthorization), time.NewTimer(0)
	defer beat.Stop()
	defer check.Stop()
	defer pause.Stop()
	<-pause.C
	sent, paused := int64(-1), false
	shown := s.scope(s.viewer)
	for {
		changed, unidentified := s.requests.changed(shown.platform), (<-chan struct{})(nil)
		if shown.unidentified {
			unidentified = s.requests.changed("")
		}
		newest := s.requests.newest(shown)
		if !paused && newest != sent {
			if !s.write(`{"newest":` + strconv.FormatInt(newest, 10) + "}\n") {
				return
			}
			sent, paused = newest, true
			pause.Reset(s.streams.interval())
			beat.Reset(heartbeat)
		}
		if paused {
			changed, unidentified = nil, nil
		}
		select {
		case <-changed:
		case <-unidentified:
		case <-pause.C:
			paused = false
		case <-beat.C:
			if !s.write("\n") {
				return
			}
		case <-check.C:
			v, err := s.authorize(s.r)
			if err != nil || v.platform != s.viewer.platform {
				return
			}
		case <-s.stopping:
			return
		case <-s.r.Context().Done():
			return
		}
	}
}

func (s *stream) write(text string) bool {
	_ = s.control.SetWriteDeadline(time.Now().Add(streamTimeout))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.control.Flush() == nil
}

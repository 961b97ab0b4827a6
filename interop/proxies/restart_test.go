//go:build proxies && linux

package proxies_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Clients with references or keys store each event once, even behind proxies that repeat
// POSTs.
func TestRestartsBehindProxies(t *testing.T) {
	for name, p := range map[string]proxy{
		"nginx":                             nginx(),
		"nginx of one directive":            plainNginx(""),
		"nginx with non_idempotent":         repeatingNginx,
		"haproxy":                           haproxy(),
		"haproxy with all-retryable-errors": repeatingHAProxy,
	} {
		t.Run(name, func(t *testing.T) { restartDuringLoad(t, startServer(t), p) })
	}
}

func restartDuringLoad(t *testing.T, s *server, p proxy) {
	const (
		clients  = 8
		requests = 60 // per client
		restarts = 4
	)
	address := p(t, s.address)
	l := load{address: address, up: make(chan struct{})}
	close(l.up)

	var running sync.WaitGroup
	progress := make(chan struct{}, clients*requests)
	for i := range clients {
		client := newClient(t)
		running.Go(func() {
			for n := range requests {
				l.store(t, client, fmt.Sprintf("c%d-%d", i, n), n%2 == 0)
				progress <- struct{}{}
			}
		})
	}
	for i := range restarts {
		for range clients * requests / (restarts + 1) {
			<-progress
		}
		l.down()
		s.end([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2])
		s.start(t)
		l.restarted()
	}
	running.Wait()
	t.Logf("%d requests failed, of which %d had stored their events", l.failed.Load(), l.replayed.Load())

	stored := make(map[string]int)
	for _, e := range events(t, address) {
		stored[e.Description]++
	}
	for i := range clients {
		for n := range requests {
			for k := range 2 {
				description := fmt.Sprintf("c%d-%d-%d", i, n, k)
				require.Equal(t, 1, stored[description], description)
				delete(stored, description)
			}
		}
	}
	require.Empty(t, stored)
}

type load struct {
	address          string
	failed, replayed atomic.Int64

	mu sync.Mutex
	up chan struct{} // closed while the server is up
}

func (l *load) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = make(chan struct{})
}

func (l *load) restarted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.up)
}

func (l *load) store(t *testing.T, client *http.Client, name string, references bool) {
	var list []string
	for k := range 2 {
		e := event("null")
		if references {
			e = event(fmt.Sprintf(`"%s-%d"`, name, k))
		}
		list = append(list, strings.Replace(e, "{", fmt.Sprintf(`{"description":"%s-%d",`, name, k), 1))
	}
	var headers []string
	if !references {
		headers = []string{"Idempotency-Key", name}
	}
	for {
		l.mu.Lock()
		up := l.up
		l.mu.Unlock()
		<-up
		r, err := send(client, http.MethodPost, "http://"+l.address+"/v1/ingest/charge-datas", `{"charge_datas":[`+strings.Join(list, ",")+`]}`, headers...)
		switch {
		case err == nil && r.status == http.StatusCreated:
			if r.header.Get("Idempotent-Replayed") != "" {
				l.replayed.Add(1)
			}
			return
		case err == nil && r.status < http.StatusInternalServerError:
			t.Errorf("%s: %d %s", name, r.status, r.body)
			return
		}
		l.failed.Add(1)
	}
}

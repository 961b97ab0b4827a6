package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

var (
	roundsFlag = flag.Int("rounds", 0, "number of crashes of the crash tests and of programs of TestModel; 0 selects the default of each test")
	seedFlag   = flag.Uint64("seed", 0, "seed of the crash tests and of the first program of TestModel; 0 selects a new one")
)

func rounds(byDefault int) int {
	if *roundsFlag > 0 {
		return *roundsFlag
	}
	return byDefault
}

func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat the traffic with -seed %d", s)
	return s
}

const senders = 6

type server struct {
	address string
	ended   <-chan struct{}
	kill    func()
	stop    func() error
	log     func() string
}

type servers struct {
	path    string
	dir     string
	moves   int
	random  *rand.Rand
	history *crashtest.History
	clients []*crashtest.Client

	launch func(*testing.T, kill) (*server, error)
	*server
	followErr error
	acks      *acks

	// responses of the round; at 0, roundOver receives a value
	remaining atomic.Int64
	roundOver chan struct{}
}

func newServers(t *testing.T, seed uint64, path string) *servers {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	l := &servers{
		path: path, dir: filepath.Dir(path), history: crashtest.NewHistory(), roundOver: make(chan struct{}, 1),
		acks:   &acks{path: filepath.Join(t.TempDir(), "acks")},
		random: rand.New(rand.NewPCG(seed, 1)),
	}
	l.clients = crashtest.NewClients(seed, senders, l.history, func() {
		if l.remaining.Add(-1) == 0 {
			l.roundOver <- struct{}{}
		}
	})
	return l
}

func newProcesses(t *testing.T, seed uint64, path string) *servers {
	l := newServers(t, seed, path)
	fdatasync := l.random.IntN(2) == 0
	l.launch = func(t *testing.T, k kill) (*server, error) {
		return launchProcess(t, childSpec{Path: l.path, Kill: k, Acks: l.acks.path, Fdatasync: fdatasync})
	}
	return l
}

func launchProcess(t *testing.T, spec childSpec, before ...string) (*server, error) {
	p, err := crashtest.Start(t.Context(), spec, before...)
	if err != nil {
		return nil, err
	}
	t.Cleanup(p.Kill)
	return &server{p.Address, p.Ended, p.Kill, p.Stop, p.Log}, nil
}

func (l *servers) start(t *testing.T, k kill) {
	t.Helper()
	l.history.AcceptResponses()
	l.acks.accept()
	started, err := l.launch(t, k)
	if k.Nth > 0 && errors.Is(err, crashtest.ErrEnded) {
		l.start(t, kill{})
		return
	}
	require.NoError(t, err)
	l.server = started
}

func (l *servers) forEachClient(f func(*crashtest.Client)) {
	var all sync.WaitGroup
	for _, c := range l.clients {
		all.Go(func() { f(c) })
	}
	all.Wait()
}

func (l *servers) resolve(t *testing.T, k kill) {
	t.Helper()
	for n := 0; ; n++ {
		require.Less(t, n, 20, "it is never served for long: %v", l.followErr)
		l.start(t, k)
		k = kill{}
		var died atomic.Bool
		l.forEachClient(func(c *crashtest.Client) {
			if !c.Resolve(t.Context(), l.address) {
				died.Store(true)
			}
		})
		l.followErr = l.history.Follow(t.Context(), l.address)
		if !died.Load() && l.followErr == nil {
			break
		}
		l.kill()
	}
	require.NoError(t, l.history.CheckFollowed(), l.log())
	requireIntact(t, l.path)
}

func (l *servers) traffic(t *testing.T, responses int, crash func()) {
	select {
	case <-l.roundOver:
	default:
	}
	l.remaining.Store(int64(responses))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil && l.history.Follow(ctx, l.address) == nil {
			runtime.Gosched()
		}
	})
	busy.Go(func() {
		l.forEachClient(func(c *crashtest.Client) { c.Run(ctx, l.address) })
	})
	select {
	case <-l.roundOver:
	case <-l.ended:
	}
	crash()
	cancel()
	busy.Wait()
}

func (l *servers) finish(t *testing.T) {
	l.resolve(t, kill{})
	stored, err := crashtest.List(t.Context(), l.address)
	require.NoError(t, err)
	require.NoError(t, l.history.Check(stored))
	require.NoError(t, l.history.CompareFollowed(stored))
	require.NoError(t, l.stop())
	require.Equal(t, len(stored), requireIntact(t, l.path))
	t.Logf("%d events, %d saves, responses: %s", len(stored), len(l.acks.entries()), l.history.Counts())
}

func requireIntact(t *testing.T, path string) (events int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var verdict string
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict))
	require.Equal(t, "ok", verdict)
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM events").Scan(&events))
	return events
}

func (l *servers) moment() kill {
	if l.random.IntN(2) == 0 {
		return kill{}
	}
	return kill{Nth: 1 + l.random.IntN(1<<(2+l.random.IntN(11)))}
}

const perDatabase = 25

func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	first := seed(t)
	for n := rounds(25); n > 0; n -= perDatabase {
		l := newProcesses(t, first+uint64(n), filepath.Join(t.TempDir(), "charges.db"))
		for range min(n, perDatabase) {
			l.resolve(t, l.moment())
			l.traffic(t, 1+l.random.IntN(200), l.kill)
			l.rearrange(t)
		}
		l.finish(t)
		require.Positive(t, l.history.Count("stored"))
	}
}

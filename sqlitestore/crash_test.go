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
	roundsFlag = flag.Int("rounds", 0, "how often the crash tests crash, and how many programs TestModel runs; 0 is the default of each test")
	seedFlag   = flag.Uint64("seed", 0, "the seed of the crash tests' traffic and moments, and of TestModel's first program; 0 is a new one")
)

// rounds is how often a test crashes.
func rounds(byDefault int) int {
	if *roundsFlag > 0 {
		return *roundsFlag
	}
	return byDefault
}

// seed returns the seed of a test, which says it where it fails.
func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat the traffic with -seed %d", s)
	return s
}

// senders is how many clients send at a time.
const senders = 6

// life is that of a server: a process, or what plays one.
type life struct {
	address string
	ended   <-chan struct{}
	kill    func()       // ends it at once, and waits for that
	stop    func() error // ends it well
	log     func() string
}

// lives are those of servers of one database, one after the other.
type lives struct {
	path    string
	dir     string // of the first path
	moved   int    // how often the database got another path
	random  *rand.Rand
	history *crashtest.History
	clients []*crashtest.Client

	// launch starts a server that dies at a moment. Where it dies before it
	// serves the error is a crashtest.ErrEnded.
	launch func(*testing.T, kill) (*life, error)
	*life
	served error // why the last one could not be followed to the end

	// toGo is how many answers are left until the end of a round; then there is
	// a token in due.
	remaining atomic.Int64
	roundOver chan struct{}
}

func newLives(seed uint64, path string) *lives {
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(folder, filepath.Base(path)) // the name that SQLite has for it
	}
	l := &lives{
		path: path, dir: filepath.Dir(path), history: crashtest.NewHistory(), roundOver: make(chan struct{}, 1),
		random: rand.New(rand.NewPCG(seed, 1)),
	}
	l.clients = crashtest.NewClients(seed, senders, l.history, func() {
		if l.remaining.Add(-1) == 0 {
			l.roundOver <- struct{}{}
		}
	})
	return l
}

// newProcesses returns lives that are processes.
func newProcesses(seed uint64, path string) *lives {
	l := newLives(seed, path)
	l.launch = func(t *testing.T, k kill) (*life, error) { return launchProcess(t, childSpec{Path: l.path, Kill: k}) }
	return l
}

func launchProcess(t *testing.T, spec childSpec, before ...string) (*life, error) {
	p, err := crashtest.Start(t.Context(), spec, before...)
	if err != nil {
		return nil, err
	}
	t.Cleanup(p.Kill)
	return &life{p.Address, p.Ended, p.Kill, p.Stop, p.Log}, nil
}

// start starts a server that dies at a moment, and another one where it died
// before it served.
func (l *lives) start(t *testing.T, k kill) {
	t.Helper()
	l.history.Lighten()
	started, err := l.launch(t, k)
	if k.Nth > 0 && errors.Is(err, crashtest.ErrEnded) {
		l.start(t, kill{})
		return
	}
	require.NoError(t, err)
	l.life = started
}

// each runs f for each client at once.
func (l *lives) forEachClient(f func(*crashtest.Client)) {
	var all sync.WaitGroup
	for _, c := range l.clients {
		all.Go(func() { f(c) })
	}
	all.Wait()
}

// settle sends what nobody knows the end of again, over as many lives as that
// takes, and then holds what is stored to the history.
func (l *lives) resolve(t *testing.T, k kill) {
	t.Helper()
	for n := 0; ; n++ {
		require.Less(t, n, 20, "it is never served for long: %v", l.served)
		l.start(t, k)
		k = kill{} // and the next one is not to die
		var gone atomic.Bool
		l.forEachClient(func(c *crashtest.Client) {
			if !c.Settle(t.Context(), l.address) {
				gone.Store(true)
			}
		})
		l.served = l.history.Follow(t.Context(), l.address)
		if !gone.Load() && l.served == nil {
			break
		}
		l.kill()
	}
	require.NoError(t, l.history.CheckFollowed(), l.log())
	requireIntact(t, l.path)
}

// traffic sends until so many requests were answered, or the process is dead;
// then, while others are under way, comes the crash. All the time somebody follows.
func (l *lives) traffic(t *testing.T, answers int, crash func()) {
	select {
	case <-l.roundOver: // that of a round that ended otherwise
	default:
	}
	l.remaining.Store(int64(answers))
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

// finish holds everything that is there in the end to the history, as the
// endpoint and the database have it.
func (l *lives) finish(t *testing.T) {
	l.resolve(t, kill{})
	stored, err := crashtest.List(t.Context(), l.address)
	require.NoError(t, err)
	require.NoError(t, l.history.Check(stored))
	require.NoError(t, l.history.CheckFollower(stored))
	require.NoError(t, l.stop())
	require.Equal(t, len(stored), requireIntact(t, l.path))
	t.Logf("%d events, answers: %s", len(stored), l.history.Counts())
}

// requireIntact holds a database to SQLite's own check of it, and returns how
// many events it has.
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

// moment is when a process of a round dies by itself, if it does: early, while
// it opens the database, as often as late.
func (l *lives) moment() kill {
	if l.random.IntN(2) == 0 {
		return kill{}
	}
	return kill{Nth: 1 + l.random.IntN(1<<(2+l.random.IntN(11)))}
}

// perDatabase is how many rounds one database lives.
const perDatabase = 25

func TestAProcessThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	first := seed(t)
	for n := rounds(25); n > 0; n -= perDatabase {
		l := newProcesses(first+uint64(n), filepath.Join(t.TempDir(), "charges.db"))
		for range min(n, perDatabase) {
			l.resolve(t, l.moment())
			l.traffic(t, 1+l.random.IntN(200), l.kill)
			l.rearrange(t)
		}
		l.finish(t)
		require.Positive(t, l.history.Count("stored"))
	}
}

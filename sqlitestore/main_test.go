package sqlitestore

import (
	"context"
	"database/sql/driver"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"modernc.org/sqlite"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/internal/memdir"
)

func TestMain(m *testing.M) {
	installShim()
	var spec childSpec
	child, err := crashtest.Child(&spec)
	if !child {
		os.Exit(runAll(m))
	}
	switch {
	case err != nil:
	case spec.Restore != "":
		err = spec.restore()
	default:
		err = crashtest.Serve(spec.open)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runAll(m *testing.M) int {
	flag.Parse()
	onDisk := flag.Lookup("test.bench").Value.String() != "" || *roundsFlag > 0
	if dir := memdir.Path(); dir != "" && !onDisk {
		if err := os.Setenv("TMPDIR", dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

type childSpec struct {
	Path   string
	Normal bool // synchronous=NORMAL, which does not sync commits
	Kill   kill

	Fdatasync bool

	// Acks is the file of a journaled store.
	Acks string

	User, Group int

	// Restore is a backup. Kill then also cuts the power of Disk.
	Restore string
	Disk    string
}

func (c childSpec) restore() error {
	r := &restorer{before: func(string) {
		if c.Kill.Nth--; c.Kill.Nth == 0 {
			if c.Disk != "" {
				if err := cutPower(c.Disk); err != nil {
					panic(err)
				}
			}
			killSelf()
		}
	}}
	_, err := r.restore(context.Background(), c.Restore, c.Path)
	return err
}

func killSelf() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	panic(err)
}

// kill ends a process before its nth operation of a kind.
type kill struct {
	Kind, File string
	Nth        int
	Serving    bool
}

func busyTuning() tuning {
	t := defaultTuning()
	t.generationSize, t.chunkEntries, t.runsPerLevel = 500, 100, 3
	t.checkpointFrames = 200
	return t
}

func (c childSpec) open() (chargeingest.EventStore, error) {
	if c.User != 0 {
		if err := becomeUser(c.User, c.Group); err != nil {
			return nil, err
		}
	}
	_, _ = sqlite.Fdatasync(c.Fdatasync)
	t := busyTuning()
	if c.Normal {
		t.wrap = func(c driver.Connector) driver.Connector { return normalConnector{c} }
	}
	if c.Kill.Nth > 0 && !c.Kill.Serving {
		disks.Store(c.Path, c.Kill.disk())
	}
	s, err := open(context.Background(), c.Path, Options{}, t)
	if c.Kill.Serving {
		disks.Store(c.Path, c.Kill.disk())
	}
	if err != nil || c.Acks == "" {
		return s, err
	}
	return newJournaled(context.Background(), s, &acks{path: c.Acks})
}

func (k kill) disk() disk {
	var mu sync.Mutex
	return func(op operation) int32 {
		mu.Lock()
		defer mu.Unlock()
		if k.Kind == "" || op.is(k.Kind, k.File) {
			if k.Nth--; k.Nth == 0 {
				killSelf()
			}
		}
		return 0
	}
}

type normalConnector struct{ driver.Connector }

func (c normalConnector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	return normalConn{opened}, err
}

type normalConn struct{ driver.Conn }

func (c normalConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c normalConn) Prepare(query string) (driver.Stmt, error) {
	switch query {
	case "PRAGMA synchronous = 2":
		query = "PRAGMA synchronous = 1"
	case "PRAGMA synchronous":
		query = "SELECT 2"
	}
	return c.Conn.Prepare(query)
}

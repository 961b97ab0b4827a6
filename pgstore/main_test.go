package pgstore

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/internal/memdir"
	"example.com/chargeingest/internal/pgtest"
)

var (
	roundsFlag = flag.Int("rounds", 0, "number of servers that the failover test kills, of model runs, and of relays that are killed or paused; 0 is the short form")
	seedFlag   = flag.Uint64("seed", 0, "seed of the failover, relay and model tests; 0 is random")
	chaosFlag  = flag.Duration("chaos", time.Second, "duration of TestConnectionsEndedAtRandom")
)

var address, reason string

func TestMain(m *testing.M) {
	var spec childSpec
	child, err := crashtest.Child(&spec)
	switch {
	case err != nil || !child:
	case spec.DestinationURL != "":
		err = spec.relay()
	default:
		err = crashtest.Serve(spec.open)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case !child:
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(runAll(m))
	}
}

type childSpec struct {
	Address, Schema string
	Name            string
	Connections     int32

	// Of a process that delivers events to a destination.
	DestinationURL string
	LeaseTime      time.Duration
	SaveOnce       bool
}

func (c childSpec) open() (chargeingest.EventStore, error) { return c.openStore() }

func (c childSpec) openStore() (closing, error) {
	cfg, err := pgxpool.ParseConfig(c.Address)
	if err != nil {
		return closing{}, err
	}
	cfg.MaxConns = c.Connections
	if c.Name != "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = c.Name
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return closing{}, err
	}
	store, err := New(ctx, pool, Options{Schema: c.Schema})
	if err != nil {
		return closing{}, err
	}
	return closing{store, pool}, nil
}

type closing struct {
	*Store
	pool *pgxpool.Pool
}

func (c closing) Close() error {
	err := c.Store.Close()
	c.pool.Close()
	return err
}

func runAll(m *testing.M) int {
	if address = os.Getenv(pgtest.Variable); address != "" {
		return m.Run()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	srv, err := pgtest.NewIn(ctx, memdir.Path(), "max_connections=400", "max_wal_size=256MB")
	if err == nil {
		defer func() { _ = srv.Remove() }()
		err = srv.Start(ctx)
	}
	switch {
	case err == nil:
		address = srv.Address()
	case errors.Is(err, pgtest.ErrNoBinaries):
		reason = fmt.Sprintf("%v; %s can name a server", err, pgtest.Variable)
	default:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

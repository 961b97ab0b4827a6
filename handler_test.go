package chargeingest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	t.Parallel()
	for field, set := range map[string]func(*chargeingest.Config){
		"Store":            func(c *chargeingest.Config) { c.Store = nil },
		"Authorizer":       func(c *chargeingest.Config) { c.Authorizer = nil },
		"MaxBodyBytes":     func(c *chargeingest.Config) { c.MaxBodyBytes = -1 },
		"MaxBatchEvents":   func(c *chargeingest.Config) { c.MaxBatchEvents = -1 },
		"MaxDiscardBytes":  func(c *chargeingest.Config) { c.MaxDiscardBytes = -1 },
		"MaxDiscardTime":   func(c *chargeingest.Config) { c.MaxDiscardTime = -1 },
		"MaxInFlightBytes": func(c *chargeingest.Config) { c.MaxInFlightBytes = -1 },
		"MaxInFlightBytes is less than MaxBodyBytes": func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 10, 9 },
		"MaxFutureSkew": func(c *chargeingest.Config) { c.MaxFutureSkew = -1 },
		"Duplicates":    func(c *chargeingest.Config) { c.Duplicates = -1 },
	} {
		t.Run(field, func(t *testing.T) {
			cfg := chargeingest.Config{Store: memstore.New(), Authorizer: newKeySet(t)}
			_, err := chargeingest.New(cfg)
			require.NoError(t, err, "all other fields have a default")
			set(&cfg)
			h, err := chargeingest.New(cfg)
			require.ErrorContains(t, err, "Config."+field)
			require.Nil(t, h)
		})
	}
}

type unreadyStore struct{ *memstore.Store }

var errUnready = errors.New("disk is read-only")

func (unreadyStore) Ready(context.Context) error { return errUnready }

type plainStore struct{ chargeingest.EventStore }

func TestReady(t *testing.T) {
	for _, c := range []struct {
		store chargeingest.EventStore
		want  error
	}{{memstore.New(), nil}, {unreadyStore{memstore.New()}, errUnready}, {plainStore{memstore.New()}, nil}} {
		h, err := chargeingest.New(chargeingest.Config{Store: c.store, Authorizer: allowAll})
		require.NoError(t, err)
		require.Equal(t, c.want, h.Ready(t.Context()))
	}
}

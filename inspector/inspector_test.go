package inspector

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/memstore"
)

func TestNew(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Reader":       {Authorizer: newKeys(t)},
		"Authorizer":   {Reader: memstore.New()},
		"MaxRequests":  {Reader: memstore.New(), Authorizer: newKeys(t), MaxRequests: -1},
		"MaxBytes":     {Reader: memstore.New(), Authorizer: newKeys(t), MaxBytes: -1},
		"MaxBodyBytes": {Reader: memstore.New(), Authorizer: newKeys(t), MaxBodyBytes: -1},
		"MaxStreams":   {Reader: memstore.New(), Authorizer: newKeys(t), MaxStreams: -1},
	} {
		t.Run(field, func(t *testing.T) {
			i, err := New(cfg)
			require.Nil(t, i)
			require.ErrorContains(t, err, "inspector: Config."+field+" is ")
		})
	}
	i, err := New(Config{Reader: memstore.New(), Authorizer: newKeys(t)})
	require.NoError(t, err)
	require.Equal(t, []int64{10_000, 32 << 20, 256 << 10, 64},
		[]int64{int64(i.cfg.MaxRequests), i.cfg.MaxBytes, int64(i.cfg.MaxBodyBytes), int64(i.cfg.MaxStreams)})
	require.NotNil(t, i.cfg.Now)
}

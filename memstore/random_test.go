package memstore_test

import (
	"flag"
	"math/rand/v2"
	"testing"

	"example.com/chargeingest/internal/storemodel"
	"example.com/chargeingest/memstore"
)

var (
	roundsFlag = flag.Int("rounds", 20, "how many random programs the store is compared with a model in")
	seedFlag   = flag.Uint64("seed", 0, "the seed of the first program; 0 is a new one")
)

func TestModel(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	storemodel.Test(t, *roundsFlag, seed, func(*testing.T) storemodel.Subject {
		return storemodel.Subject{Store: memstore.New()}
	})
}

package memstore_test

import (
	"flag"
	"math/rand/v2"
	"testing"

	"example.com/chargeingest/internal/storemodel"
	"example.com/chargeingest/memstore"
)

var (
	roundsFlag = flag.Int("rounds", 20, "number of random programs to compare with the model")
	seedFlag   = flag.Uint64("seed", 0, "seed of the first program; 0 means random")
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

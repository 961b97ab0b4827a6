package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/google/uuid"
)

// referenceLength is that of a UUID's text, which every reference here is.
const referenceLength = 36

// references makes references out of a seeded stream. Not safe for concurrent
// use: each connection has its own.
type references struct {
	random  *rand.ChaCha8
	version int // 4 is random, 7 ordered in time
}

// newReferences returns a stream of its own for each seed and number of a stream,
// so that loads and connections never make the same reference.
func newReferences(seed, stream uint64, version int) *references {
	return &references{newRandom(seed, stream, 0x7265666572656e63), version}
}

// newRandom returns the generator that the three numbers stand for.
func newRandom(seed, stream, purpose uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], stream)
	binary.LittleEndian.PutUint64(key[16:], purpose)
	return rand.NewChaCha8(key)
}

// next makes a reference.
func (r *references) next() (uuid.UUID, error) {
	if r.version == 7 {
		return uuid.NewV7FromReader(r.random)
	}
	return uuid.NewRandomFromReader(r.random)
}

// fill writes a new reference over the referenceLength bytes of dst.
func (r *references) fill(dst []byte) (uuid.UUID, error) {
	made, err := r.next()
	if err != nil {
		return made, err
	}
	text, err := made.MarshalText()
	copy(dst[:referenceLength], text)
	return made, err
}

// tally tells sets of references apart without keeping them: how many, and a
// sum that does not depend on their order. A reference that is missing, there
// twice or another one changes it.
type tally struct {
	Events int64  `json:"events"`
	Sum    uint64 `json:"sum"`
}

func (t *tally) add(reference uuid.UUID) {
	t.Events++
	high, low := binary.BigEndian.Uint64(reference[:8]), binary.BigEndian.Uint64(reference[8:])
	// The halves are treated differently, so that which is which counts.
	t.Sum += scramble(high ^ bits.RotateLeft64(scramble(low), 23))
}

func (t *tally) merge(other tally) {
	t.Events += other.Events
	t.Sum += other.Sum
}

func (t tally) String() string { return fmt.Sprintf("%d events with checksum %016x", t.Events, t.Sum) }

// scramble maps each number to another one so that sums of them do not cancel
// out: two rounds of multiplying by an odd number and folding the upper half in.
func scramble(x uint64) uint64 {
	for range 2 {
		x *= 0x9e3779b97f4a7c15
		x ^= x >> 32
	}
	return x
}

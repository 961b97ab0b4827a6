package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/google/uuid"
)

const referenceLength = 36

type references struct {
	random *rand.ChaCha8
	uuid   int // version: 4 is random, 7 ordered in time
}

// Streams never generate the same reference.
func newReferences(seed, stream uint64, version int) *references {
	return &references{newRandom(seed, stream, 0x7265666572656e63), version}
}

func newRandom(seed, stream, purpose uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], stream)
	binary.LittleEndian.PutUint64(key[16:], purpose)
	return rand.NewChaCha8(key)
}

func (r *references) next() (uuid.UUID, error) {
	if r.uuid == 7 {
		return uuid.NewV7FromReader(r.random)
	}
	return uuid.NewRandomFromReader(r.random)
}

func (r *references) fill(dst []byte) (uuid.UUID, error) {
	reference, err := r.next()
	if err != nil {
		return reference, err
	}
	text, err := reference.MarshalText()
	copy(dst[:referenceLength], text)
	return reference, err
}

// tally detects missing, duplicate and changed references in any order.
type tally struct {
	Events int64
	Sum    uint64
}

func (t *tally) add(reference uuid.UUID) {
	t.Events++
	high, low := binary.BigEndian.Uint64(reference[:8]), binary.BigEndian.Uint64(reference[8:])
	t.Sum += scramble(high ^ bits.RotateLeft64(scramble(low), 23))
}

func (t *tally) merge(other tally) {
	t.Events += other.Events
	t.Sum += other.Sum
}

func (t tally) String() string { return fmt.Sprintf("%d events with checksum %016x", t.Events, t.Sum) }

// scramble is a bijection that makes sums of similar numbers differ.
func scramble(x uint64) uint64 {
	for range 2 {
		x *= 0x9e3779b97f4a7c15
		x ^= x >> 32
	}
	return x
}

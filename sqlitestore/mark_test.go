package sqlitestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestOlderCopyWithLaterWAL(t *testing.T) {
	t.Parallel()
	keyOnly := charges("acme", "copied 1")
	keyOnly.IdempotencyKey = "key"
	changes := map[string]func(t *testing.T, s *Store){
		"events": func(t *testing.T, s *Store) { fresh(t, s, charges("acme", "later")) },
		"all is pruned": func(t *testing.T, s *Store) {
			_, err := s.Prune(t.Context(), received().Add(time.Hour))
			require.NoError(t, err)
		},
		"a key for a stored event": func(t *testing.T, s *Store) { replayed(t, s, keyOnly) },
	}
	empty := map[string]func(t *testing.T, s *Store, path string){
		"the store": func(t *testing.T, s *Store, _ string) { checkpointAll(t, s) },
		"a shell":   func(t *testing.T, _ *Store, path string) { sqlite3Shell(t, path, "PRAGMA wal_checkpoint(TRUNCATE)") },
	}
	ends := map[string]func(t *testing.T, s *Store){
		"an event":   func(t *testing.T, s *Store) { fresh(t, s, charges("acme", "in the WAL")) },
		"a key only": func(t *testing.T, s *Store) { replayed(t, s, keyOnly) },
	}
	for change, changed := range changes {
		for by, emptied := range empty {
			for end, ended := range ends {
				if change != "events" && end == "a key only" {
					continue
				}
				for _, stateless := range []bool{false, true} {
					t.Run(fmt.Sprint(change, ", emptied by ", by, ", ", end, ", without the state file ", stateless), func(t *testing.T) {
						setup := newSetup(t)
						s := setup.open(t)
						for i := range 20 {
							fresh(t, s, charges("acme", fmt.Sprint("copied ", i)))
						}
						checkpointAll(t, s)
						to := filepath.Join(t.TempDir(), "copy.db")
						copyFile(t, setup.path, to)
						changed(t, s)
						emptied(t, s, setup.path)
						ended(t, s)

						dead := copyKilledWithState(t, setup)
						require.Positive(t, fileSize(dead.path+"-wal"))
						copyFile(t, to, dead.path)
						if stateless {
							require.NoError(t, os.Remove(dead.path+".state"))
						}
						before := readFiles(t, filepath.Dir(dead.path))
						err := dead.openError(t)
						require.ErrorIs(t, err, ErrWALMismatch)
						require.Equal(t, before, readFiles(t, filepath.Dir(dead.path)))
					})
				}
			}
		}
	}
}

func TestCopyMadeBySQLite(t *testing.T) {
	for _, by := range []string{"VACUUM INTO", ".backup"} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", "copied"))
		to := filepath.Join(t.TempDir(), "copy.db")
		copyMethods()[by](t, s, setup.path, to)
		fresh(t, s, charges("acme", "later"))
		dead := copyKilledWithState(t, setup)
		copyFile(t, to, dead.path)
		require.ErrorIs(t, dead.openError(t), ErrWALMismatch, by)
		require.NoError(t, os.Remove(dead.path+".state"))
		require.ErrorIs(t, dead.openError(t), ErrWALMismatch, by)
	}
}

func TestHalfWrittenMark(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	first := copyKilledWithState(t, setup)
	before := readPair(t, first.path)
	log := before["-wal"]
	size := int(binary.BigEndian.Uint32(log[8:]))
	at, offset := int64(0), 0
	var written []byte
	for frame := 32; frame+24+size <= len(log); frame += 24 + size {
		if marks, found := marksIn(log[frame+24:][:size]); len(marks) > 0 {
			written, offset = log[frame+24:][:size], found
			at = int64(binary.BigEndian.Uint32(log[frame:])-1) * int64(size)
		}
	}
	require.NotNil(t, written)
	for n := offset; n <= offset+markSize; n += 4 {
		for _, stateless := range []bool{false, true} {
			dead := newSetup(t)
			before.write(t, dead.path)
			if stateless {
				require.NoError(t, os.Remove(dead.path+".state"))
			}
			data, err := os.OpenFile(dead.path, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = data.WriteAt(written[:n], at)
			require.NoError(t, err)
			require.NoError(t, data.Close())
			again, err := open(t.Context(), dead.path, dead.options, dead.tuning)
			require.NoError(t, err, "%d bytes of the mark", n-offset)
			replayed(t, again, charges("acme", "a"))
			require.NoError(t, again.Close())
		}
	}
}

func TestDamagedMark(t *testing.T) {
	require.False(t, utf8.Valid(markMagic), "clients cannot store it")
	m := mark{stamp{newToken(), 1}, stamp{newToken(), 1 << 40}, 5, header(bytes.Repeat([]byte{7}, 20)), true}
	data := m.encode()
	require.Len(t, data, markSize)
	page := append(append([]byte("page"), data...), data...)
	marks, offset := marksIn(page)
	require.Equal(t, []mark{m, m}, marks)
	require.Equal(t, 4+markSize, offset)
	for i := range data {
		_, ok := decodeMark(data[:i])
		require.False(t, ok, i)
		changed := append([]byte(nil), data...)
		changed[i] ^= 1
		_, ok = decodeMark(changed)
		require.False(t, ok, i)
	}
}

func TestBackupHasNewMark(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	var seen []token
	for i := range 2 {
		to := fmt.Sprint(setup.path, ".", i)
		require.NoError(t, s.Backup(t.Context(), to))
		f := &file{path: to, tuning: setup.tuning, data: s.file.data}
		c := f.readContent(context.Background())
		require.NoError(t, c.err)
		require.False(t, c.mark.open)
		require.NotContains(t, append(seen, token{}, s.file.mark.opening), c.mark.opening)
		seen = append(seen, c.mark.opening)
	}
}

func TestReplayWritesNothing(t *testing.T) {
	t.Parallel()
	setup := newSetup(t)
	s := setup.open(t)
	b := charges("acme", "a", "b")
	fresh(t, s, b)
	fresh(t, s, charges("acme", "c"))
	for range 3 {
		before, err := os.ReadFile(setup.path + "-wal")
		require.NoError(t, err)
		replayed(t, s, b)
		after, err := os.ReadFile(setup.path + "-wal")
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
	}
}

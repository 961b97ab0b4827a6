package sqlitestore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"example.com/chargeingest/internal/files"
)

// SQLite does not detect a deleted WAL. So an optional state file names the last database at
// the path and its newest acknowledged event.

type state struct {
	// The database has opening, not current, if an Open was interrupted.
	current, opening token

	// in the database file, 0 if unknown
	markOffset int64

	// newest is a lower bound: the file is written after the commit, without a sync.
	newest int64
}

func (s state) isOf(t token) bool { return t == s.current || t == s.opening && t != token{} }

// One write of constant length within a sector replaces the state.
const stateFormat = "chargeingest state 1\ndatabase %x\nopening  %x\noffset   %020d\nnewest   %020d\n"

func (s state) encode() []byte {
	text := fmt.Appendf(nil, stateFormat, s.current, s.opening, s.markOffset, s.newest)
	return fmt.Appendf(text, "check    %08x\n", crc32.ChecksumIEEE(text))
}

func decodeState(text []byte) (s state, ok bool) {
	var current, opening []byte
	_, err := fmt.Sscanf(string(text), stateFormat, &current, &opening, &s.markOffset, &s.newest)
	if err != nil || len(current) != len(s.current) || len(opening) != len(s.opening) {
		return state{}, false
	}
	s.current, s.opening = token(current), token(opening)
	return s, bytes.Equal(text, s.encode())
}

type stateFile struct {
	file    *os.File
	isNew   bool
	content state
	failed  bool
}

// openState returns no state from a new or damaged file.
func openState(path string, like fs.FileInfo) (_ *stateFile, last *state, _ error) {
	f, err := files.OpenLike(path, like)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	s := &stateFile{file: f, isNew: len(text) == 0}
	if decoded, ok := decodeState(text); ok {
		last = &decoded
	}
	return s, last, nil
}

func readState(database string) (*state, error) {
	path := database + ".state"
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return nil, nil //nolint:nilerr // the state file is optional
	}
	text, err := os.ReadFile(path) //nolint:gosec // the caller chose the path
	if err != nil {
		return nil, err
	}
	if last, ok := decodeState(text); ok {
		return &last, nil
	}
	return nil, nil // damaged
}

// start writes the state, or empties the file without one, and syncs the file.
func (s *stateFile) start(content *state) (text []byte, err error) {
	if content != nil {
		s.content = *content
		text = content.encode()
	}
	err = s.file.Truncate(int64(len(text)))
	if err == nil {
		_, err = s.file.WriteAt(text, 0)
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil && s.isNew {
		err = files.SyncDir(s.file.Name())
	}
	return text, err
}

// update returns only the first error: an older state is valid.
func (s *stateFile) update() error {
	_, err := s.file.WriteAt(s.content.encode(), 0)
	if err == nil || s.failed {
		return nil
	}
	s.failed = true
	return err
}

package sqlitestore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// SQLite misses no write-ahead log that was deleted. So the store keeps a state file
// next to the database. It names the database that the store last had open there, by
// its opening, and how much of it must exist. The file is a help, not a part of the
// database: without it no event is missed.

// state is the content of the state file.
type state struct {
	// The database has one of these as its opening. Next is set while it is opened.
	current, next token

	// at is the offset of the mark in the database file, 0 if unknown.
	markOffset int64

	// newest is the seq of the newest event that was acknowledged. The file is
	// written after the commit was synced and is not synced itself, so this is a
	// lower bound.
	newest int64
}

// has reports whether the state is of a database with this opening.
func (s state) isOf(t token) bool { return t == s.current || t == s.next && t != token{} }

// A state has the same length always: it is overwritten in place by one write
// within one sector.
const stateFormat = "chargeingest state 1\ndatabase %x\nopening  %x\noffset   %020d\nnewest   %020d\n"

func (s state) encode() []byte {
	text := fmt.Appendf(nil, stateFormat, s.current, s.next, s.markOffset, s.newest)
	return fmt.Appendf(text, "check    %08x\n", crc32.ChecksumIEEE(text))
}

// decodeState returns false if the text is not that of a state.
func decodeState(text []byte) (s state, ok bool) {
	var now, next []byte
	_, err := fmt.Sscanf(string(text), stateFormat, &now, &next, &s.markOffset, &s.newest)
	if err != nil || len(now) != len(s.current) || len(next) != len(s.next) {
		return state{}, false
	}
	s.current, s.next = token(now), token(next)
	return s, bytes.Equal(text, s.encode())
}

// stateFile is the state file of a store that has its database open.
type stateFile struct {
	file   *os.File
	isNew  bool
	state  state
	failed bool // a write did
}

// openState opens or creates the file next to a database. The state is nil if
// there was none, or if it is damaged.
func openState(path string, like fs.FileInfo) (_ *stateFile, last *state, _ error) {
	f, err := openSideFile(path, like)
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

// newestBefore returns the newest event that the state file next to a database tells
// of, 0 if there is none.
func lastAcknowledged(database string) int64 {
	path := database + ".state"
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return 0
	}
	text, err := os.ReadFile(path) //nolint:gosec // the path is the host's
	if err != nil {
		return 0
	}
	last, _ := decodeState(text)
	return last.newest
}

// begin writes the state with which a database is opened, or none if it is nil,
// durable before the database can change.
func (s *stateFile) start(now *state) (text []byte, err error) {
	if now != nil {
		s.state = *now
		text = now.encode()
	}
	err = s.file.Truncate(int64(len(text)))
	if err == nil {
		_, err = s.file.WriteAt(text, 0)
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil && s.isNew {
		err = syncDir(s.file.Name())
	}
	return text, err
}

// update writes the state without a sync. It is true already. The
// error is the first one alone: the state in the file stays true, and is older.
func (s *stateFile) update() error {
	_, err := s.file.WriteAt(s.state.encode(), 0)
	if err == nil || s.failed {
		return nil
	}
	s.failed = true
	return err
}

package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"example.com/chargeingest/internal/files"
)

// content is the state of the database file without its WAL. After an interrupted checkpoint
// some pages are newer than others or only in the WAL, so parts may be unknown.
type content struct {
	mark mark  // zero in files of an earlier version
	seq  int64 // 0 without events, -1 if unknown
	header
	offset int64 // of the mark, 0 if unknown
	err    error
}

// markPosition is for one schema version: VACUUM may move the mark.
type markPosition struct {
	offset int64
	schema uint32
}

const identityVersion = 6

func (f *file) readContent(ctx context.Context) (c content) {
	c.seq, c.header = -1, f.headerOf()
	c.err = func() (err error) {
		connector, err := f.connector([]pragma{{"writable_schema", "1"}}, "immutable=1", "mode=ro")
		if err != nil {
			return err
		}
		opened, err := connector.Connect(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, opened.Close()) }()
		var tables, version int64
		if err := (conn{opened}).row("SELECT count(*), (SELECT user_version FROM pragma_user_version) FROM sqlite_schema WHERE name = 'identity'",
			&tables, &version); err != nil {
			return err
		}
		switch {
		case tables == 0 && version >= identityVersion:
			return errNoMark // the page of the schema is only in the WAL
		case tables > 0:
			if c.mark, err = readMark(conn{opened}); err != nil {
				return err
			}
		}
		if c.seq, err = (conn{opened}).newestEvent(); err != nil {
			c.seq = -1
		} else if tables > 0 {
			c.offset, _ = f.findMark(conn{opened})
		}
		return nil
	}()
	return c
}

var errNoMark = errors.New("the database has no mark")

// readMark returns a zero mark before the first opening.
func readMark(c conn) (m mark, err error) {
	rows, err := c.query("SELECT mark FROM identity")
	if err != nil {
		return mark{}, err
	}
	var data []byte
	if len(rows) != 1 || scan(rows[0], &data) != nil {
		return mark{}, errNoMark
	}
	m, ok := decodeMark(data)
	if !ok && len(data) > 0 {
		return mark{}, errNoMark
	}
	return m, nil
}

func (f *file) findMark(c conn) (offset int64, _ error) {
	var size, root int64
	if err := c.row("SELECT page_size, (SELECT rootpage FROM sqlite_schema WHERE name = 'identity') FROM pragma_page_size", &size, &root); err != nil {
		return 0, err
	}
	page := make([]byte, size)
	if _, err := f.data.ReadAt(page, (root-1)*size); err != nil {
		return 0, err
	}
	marks, at := marksIn(page)
	if len(marks) == 0 {
		return 0, errors.New("the mark of the database is not in its file")
	}
	return (root-1)*size + int64(at), nil
}

func (f *file) validate(ctx context.Context) error {
	var last *state
	var err error
	if f.state, last, err = openState(f.path+".state", f.info); err != nil {
		return err
	}
	x, err := f.examine(ctx, last)
	if err != nil {
		return err
	}
	if x.mayLackWAL {
		f.logger.Warn("sqlitestore: "+mayLackWAL, "database", f.path)
	}
	var version [1]byte
	if _, err := f.data.ReadAt(version[:], 18); err == nil && version[0] == 1 && x.wal.frames == 0 && fileSize(f.path+"-wal") > 0 {
		// SQLite would use WAL mode only until the WAL is empty.
		if err := f.setAside("a write-ahead log without transactions"); err != nil {
			return err
		}
	}
	c := x.content
	next := &state{current: c.mark.opening}
	if c.mark.stamp == (stamp{}) {
		next.newest = max(0, c.seq) // without a mark, only this reveals an older copy
	}
	switch {
	case x.stateMatches:
		next.markOffset, next.newest = last.markOffset, max(next.newest, last.newest)
	case last != nil:
		f.replacedState = last
	}
	if !x.stateMatches && c.err != nil {
		next = nil
	}
	if x.wal.frames > 0 {
		f.seqBeforeWAL = c.seq
	}
	f.opening = newToken()
	if next != nil {
		next.opening = f.opening
	}
	text, err := f.state.start(next)
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	f.onStateSynced(text)
	return nil
}

const mayLackWAL = "the database was not closed and has no write-ahead log here; if it was moved or copied without its write-ahead log, events are missing"

type examination struct {
	content      content
	wal          walContent
	stateMatches bool
	mayLackWAL   bool // the state file cannot tell
}

func (f *file) examine(ctx context.Context, last *state) (x examination, err error) {
	c := content{seq: -1}
	if f.info.Size() > 0 {
		c = f.readContent(ctx)
	}
	wal, err := f.readWAL()
	if err != nil {
		return x, err
	}
	x.wal, x.stateMatches = wal, last != nil && f.matches(last, &c, wal)
	x.content = c
	if x.mayLackWAL, err = f.checkWALPresent(c, x.stateMatches); err != nil {
		return x, err
	}
	if !wal.continues(c, last != nil && !x.stateMatches) {
		uncertain := len(wal.marks) == 0 || c.err != nil || c.mark.stamp == (stamp{})
		return x, f.walMismatch("-wal", x.stateMatches && c.seq < last.newest, uncertain)
	}
	switch {
	case x.stateMatches && fileSize(f.path+"-wal") == 0 && c.seq >= 0 && c.seq < last.newest:
		return x, f.eventsMissing(last.newest, c.seq)
	case last != nil && !x.stateMatches && fileSize(f.path+"-journal") > 0:
		return x, f.walMismatch("-journal", false, true)
	}
	return x, nil
}

func (f *file) checkWALPresent(c content, stateMatches bool) (mayLackWAL bool, _ error) {
	if !c.mark.open || stateMatches {
		return false, nil
	}
	if _, err := os.Lstat(f.path + "-wal"); err == nil {
		return false, nil
	}
	if files.Links(f.info) > 1 {
		return false, f.hardLinked()
	}
	return c.changes() != 1, nil // 1: VACUUM INTO or .backup, one transaction
}

// matches also works if only the mark is readable, which it then reads into c.
func (f *file) matches(last *state, c *content, wal walContent) bool {
	if c.err != nil && last.markOffset > 0 {
		if m, ok := f.markAt(last.markOffset); ok && last.isOf(m.opening) {
			c.mark, c.err = m, nil
			return true
		}
	}
	if c.err == nil && c.mark.stamp == (stamp{}) && c.seq >= 0 && c.seq < last.newest {
		return false
	}
	if c.err != nil {
		// After an interrupted checkpoint of the first mark or of a VACUUM, the WAL has the
		// whole database.
		return last.current == token{} || slices.ContainsFunc(wal.marks, func(m mark) bool { return last.isOf(m.opening) })
	}
	return last.isOf(c.mark.opening)
}

func (f *file) sessionOpened(c conn, newest int64) error {
	offset, err := f.findMark(c)
	if err != nil {
		return err
	}
	if f.mark, err = readMark(c); err != nil {
		return err
	}
	f.noteCheckpoint()
	f.position.Store(&markPosition{offset, f.headerOf().schema()})
	f.state.content = state{current: f.opening, markOffset: offset, newest: newest}
	f.updateState()
	if f.replacedState != nil {
		f.logger.Warn("sqlitestore: the database is not the one that was last open at this path: it was restored or replaced",
			"database", f.path, "newest_before", f.replacedState.newest, "newest_now", newest)
		f.replacedState = nil
	}
	return nil
}

// updateState logs only the first error: the state file is optional.
func (f *file) updateState() {
	if err := f.state.update(); err != nil {
		f.logger.Warn("sqlitestore: the state file cannot be written", "error", err)
	}
}

func (f *file) setNewest(newest int64) bool {
	if newest <= f.state.content.newest {
		return false
	}
	f.state.content.newest = newest
	return true
}

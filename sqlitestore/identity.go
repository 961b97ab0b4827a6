package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// content is the state of the database file in itself, without a write-ahead log.
// After a checkpoint that was cut off some pages are newer than others, and some
// only in the log. So some of it may be unknown.
type content struct {
	mark mark  // zero for a database of an earlier version
	seq  int64 // of the newest event, 0 if there was none, -1 if unknown
	header
	offset int64 // of the mark, 0 if unknown
	err    error // why the mark is unknown
}

// place is where the mark is in the database file, as long as the file has this
// schema version: another program may move it, with VACUUM.
type place struct {
	offset int64
	schema uint32
}

// identityVersion is the version of the schema that has the table identity.
const identityVersion = 6

// look reads the file at the path, as identify does.
func (f *file) look(ctx context.Context) (c content) {
	c.seq, c.header = -1, f.headerOf()
	c.err = func() (err error) {
		connector, err := f.connector([]pragma{{"writable_schema", "1"}}, "immutable=1", "mode=ro")
		if err != nil {
			return err
		}
		made, err := connector.Connect(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, made.Close()) }()
		rows, err := conn{made}.query("SELECT count(*), (SELECT user_version FROM pragma_user_version) FROM sqlite_schema WHERE name = 'identity'")
		if err != nil {
			return err
		}
		var tables, version int64
		if err := scan(rows[0], &tables, &version); err != nil {
			return err
		}
		switch {
		case tables == 0 && version >= identityVersion:
			return errNoMark // the page of the schema that has it is only in the log
		case tables > 0:
			if c.mark, err = readMark(conn{made}); err != nil {
				return err
			}
		}
		// A page that was torn has no such row.
		if c.seq, err = (conn{made}).newestEvent(); err != nil {
			c.seq = -1
		} else if tables > 0 {
			c.offset, _ = f.find(conn{made}) // the mark is known without
		}
		return nil
	}()
	return c
}

var errNoMark = errors.New("the database has no mark")

// readMark returns the mark that a connection sees, a zero one if the database was
// migrated and not opened yet.
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

// find returns the offset of the mark in the file, which has all that the
// connection sees.
func (f *file) find(c conn) (offset int64, _ error) {
	rows, err := c.query("SELECT page_size, (SELECT rootpage FROM sqlite_schema WHERE name = 'identity') FROM pragma_page_size")
	if err != nil {
		return 0, err
	}
	var size, root int64
	if err := scan(rows[0], &size, &root); err != nil {
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

// judge refuses a database and a write-ahead log that do not belong together, and
// a database that misses events. It writes the state with which it is opened.
func (f *file) judge(ctx context.Context) error {
	var last *state
	var err error
	if f.state, last, err = openState(f.path+".state", f.info); err != nil {
		return err
	}
	c := content{seq: -1} // of an empty file
	if f.info.Size() > 0 {
		c = f.look(ctx)
	}
	log, err := f.readLog()
	if err != nil {
		return err
	}
	isLast := last != nil && f.matches(last, &c, log)
	if err := f.requireLogHere(c, isLast); err != nil {
		return err
	}
	if !log.continues(c, last != nil && !isLast) {
		unsure := len(log.marks) == 0 || c.err != nil || c.mark.stamp == (stamp{})
		return f.foreignLog("-wal", isLast && c.seq < last.newest, unsure)
	}
	start := &state{now: c.mark.opening}
	if c.mark.stamp == (stamp{}) {
		start.newest = max(0, c.seq) // what else tells it from an older copy?
	}
	switch {
	case isLast && fileSize(f.path+"-wal") == 0 && c.seq >= 0 && c.seq < last.newest:
		return f.missing(last.newest, c.seq)
	case isLast:
		start.at, start.newest = last.at, max(start.newest, last.newest)
	case last != nil && fileSize(f.path+"-journal") > 0:
		return f.foreignLog("-journal", false, true)
	case last != nil:
		f.replaced = last
	}
	if !isLast && c.err != nil {
		start = nil // nothing is known
	}
	if log.frames > 0 {
		f.logged = c.seq
	}
	f.opening = newToken()
	if start != nil {
		start.next = f.opening
	}
	text, err := f.state.begin(start)
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	f.stateSynced(text)
	return nil
}

// requireLogHere notices a database that was not closed, whose log is not next to
// this name, and of which no state is known.
func (f *file) requireLogHere(c content, isLast bool) error {
	if !c.mark.open || isLast {
		return nil
	}
	if _, err := os.Lstat(f.path + "-wal"); err == nil {
		return nil
	}
	if links(f.info) > 1 {
		return f.otherName()
	}
	if c.changes() == 1 {
		return nil // SQLite made this whole copy in one transaction, with VACUUM INTO or .backup
	}
	f.logger.Warn("sqlitestore: the database was not closed, and has no write-ahead log here; if it was moved or copied without, events are missing",
		"database", f.path)
	return nil
}

// matches reports whether a state is of this database. At its last offset the mark
// is found even if the rest cannot be read.
func (f *file) matches(last *state, c *content, log logContent) bool {
	if c.err != nil && last.at > 0 {
		if m, ok := f.markAt(last.at); ok && last.has(m.opening) {
			c.mark, c.err = m, nil
			return true
		}
	}
	if c.err == nil && c.mark.stamp == (stamp{}) && c.seq >= 0 && c.seq < last.newest {
		return false // an older copy
	}
	if c.err != nil {
		// A checkpoint was cut off: the one that brings the table, or one after a
		// VACUUM, which has the whole database in the log.
		return last.now == token{} || slices.ContainsFunc(log.marks, func(m mark) bool { return last.has(m.opening) })
	}
	return last.has(c.mark.opening)
}

// settle notes the state of the database file. The write-ahead log is empty.
func (f *file) settle(c conn, newest int64) error {
	offset, err := f.find(c)
	if err != nil {
		return err
	}
	if f.mark, err = readMark(c); err != nil {
		return err
	}
	f.checkpointed()
	f.place.Store(&place{offset, f.headerOf().schema()})
	f.state.state = state{now: f.opening, at: offset, newest: newest}
	f.updateState()
	if f.replaced != nil {
		f.logger.Warn("sqlitestore: the database is not the one that was last open at this path; it was restored, or replaced",
			"database", f.path, "newest event before", f.replaced.newest, "newest event now", newest)
		f.replaced = nil
	}
	return nil
}

// updateState writes the state file. It is a help: an error is logged, once.
func (f *file) updateState() {
	if err := f.state.update(); err != nil {
		f.logger.Warn("sqlitestore: the state file cannot be written", "error", err)
	}
}

// acknowledged notes the newest event that is durable, and reports whether the
// state file is to be written for it.
func (f *file) acknowledged(newest int64) bool {
	if newest <= f.state.state.newest {
		return false
	}
	f.state.state.newest = newest
	return true
}

package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
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

// errReplaced is the error of a database whose file was written over.
var errReplaced = errors.New("the content of the database was replaced while it was open; restart the server to go on with the file that is there")

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

// foreignLog is the error for a log or journal that does not belong to the database.
// The state file of an older copy tells of later events, and is to be moved away,
// too. If it is all that speaks against the log, the user may know better.
func (f *file) foreignLog(suffix string, isCopy, unsure bool) error {
	forget := renaming(f.path + ".state")
	keep := renaming(f.path + suffix)
	if isCopy {
		keep += " && " + forget
	}
	more := ""
	if unsure {
		more = ". If both were put there together: " + forget
	}
	return fmt.Errorf("%w: %s does not belong to %s, which was restored or replaced. To keep the database and drop the events of the log: %s. "+
		"To keep the events of the log, put back the database that it belongs to%s", ErrWALMismatch, quoted(f.path+suffix), quoted(f.path), keep, more)
}

// missing is the error for a database that has fewer events than were
// acknowledged.
func (f *file) missing(newest, found int64) error {
	return fmt.Errorf("%w: number %d was acknowledged, and %s ends at %d. Most likely %s was deleted or damaged after a crash: put it back. "+
		"If this is an older copy, or to go on without these events: %s",
		ErrEventsMissing, newest, quoted(f.path), found, quoted(f.path+"-wal"), renaming(f.path+".state"))
}

// renaming is the command that gives a file another name.
func renaming(path string) string { return fmt.Sprintf("mv %s %[1]s.old", quoted(path)) }

// otherName is the error for a database that was not closed under another name.
func (f *file) otherName() error {
	path := quoted(f.path)
	return fmt.Errorf("%w: %s has another name, a hard link, and was not closed there. Its write-ahead log is next to that name: find that with "+
		"find / -xdev -samefile %[2]s, and open it there. To go on without the events of the log: cp %[2]s %[2]s.copy && mv %[2]s.copy %[2]s", ErrEventsMissing, path)
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("/._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	if strings.ContainsFunc(path, special) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// gone is the error for a database that is missing or empty, but had events.
func (f *file) gone(newest int64) error {
	return fmt.Errorf("%w: %s is missing or empty, and had events up to number %d. Put it back, or start with a new one: %s",
		ErrEventsMissing, quoted(f.path), newest, renaming(f.path+".state"))
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

// isOurs reports whether the open file has the store's database, and no copy of it.
func (f *file) isOurs() bool {
	p := f.place.Load()
	m, ok := f.markAt(p.offset)
	return ok && f.hasOurMark(m) && f.headerOf().schema() == p.schema
}

// hasName reports whether the open file still has a name.
func (f *file) hasName() bool {
	info, err := f.data.Stat()
	return err != nil || links(info) > 0
}

// check returns an error if the store's database is not at its path any more. The
// writer calls it, with its session or nil, before each transaction and each
// checkpoint: it takes some microseconds.
func (f *file) check(s *session) error {
	err := f.checkPlace()
	if err == nil && !f.isOurs() {
		err = f.checkContent(s)
	}
	return err
}

// checkContent looks closer. Another program may have changed the schema or moved
// pages, with VACUUM; a connection that was open before knows of that, and so does
// the log, and not of a file that was written over.
func (f *file) checkContent(s *session) error {
	c := f.look(context.Background())
	if c.isOther(f.opening) {
		return errReplaced
	}
	old := f.place.Load().schema
	var known, changed bool
	if s != nil {
		schema, err := s.schemaVersion()
		if err != nil {
			return err
		}
		known, changed = c.schema() == schema, schema != old
	} else {
		log, err := f.readLog()
		if err != nil {
			return err
		}
		known, changed = c.schema() == old || log.hasSchema(c.schema()), log.hasOtherSchema(old)
	}
	if c.err != nil || !f.hasOurMark(c.mark) || c.offset == 0 || !known {
		if changed {
			return nil // some of the change is still only in the log: a checkpoint is under way, or was cut off
		}
		return errReplaced
	}
	f.place.Store(&place{c.offset, c.schema()})
	f.state.state.at = c.offset
	f.updateState()
	return nil
}

// isOther says that the file has another database, whole.
func (c content) isOther(opening token) bool { return c.err == nil && c.mark.opening != opening }

// checkRead is check for those who read.
func (f *file) checkRead(ctx context.Context) error {
	p := f.place.Load()
	if m, ok := f.markAt(p.offset); ok && m.opening == f.opening {
		return ctx.Err()
	}
	c := f.look(ctx)
	if ctx.Err() != nil || c.mark.opening == f.opening {
		return ctx.Err()
	}
	if !c.isOther(f.opening) {
		if log, err := f.readLog(); err != nil || log.hasOtherSchema(p.schema) {
			return err
		}
	}
	return errReplaced
}

// openGuard opens the guard.
func (f *file) openGuard(ctx context.Context) error {
	connector, err := f.connector(nil, "mode=ro")
	if err != nil {
		return err
	}
	made, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	f.guard = made
	_, err = conn{made}.query("SELECT count(*) FROM sqlite_schema") // it has the log open from now on
	return err
}

func (f *file) closeGuard() error {
	if f.guard == nil {
		return nil
	}
	guard := f.guard
	f.guard = nil
	return guard.Close()
}

// setAside gives the log at the path another name, so that no database takes it
// for its own, and returns that.
func (f *file) setAside() (string, error) {
	log := f.path + "-wal"
	aside := log + ".replaced-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(log, aside); err != nil {
		return "", err
	}
	return aside, syncFolder(f.path)
}

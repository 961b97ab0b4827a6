package sqlitestore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
)

// content is the state of the database file in itself, without a write-ahead log.
// After a checkpoint that was cut off some pages are newer than others, and some
// only in the log. So some of it may be unknown.
type content struct {
	token token // zero for a database of an earlier version
	open  bool  // it was not closed, or its closing is in the log
	seq   int64 // of the newest event, -1 if unknown
	none  bool  // there was no event yet, if the schema was not changed since
	places
	err error // why the token is unknown
}

// places are offsets in the database file.
type places struct {
	token    int64 // 0 if unknown
	sequence int64 // the page of the table sqlite_sequence, which has the newest seq
	pageSize int64
	schema   int64 // not a place: the schema version that the file has
}

// schemaOf returns the schema version in the header of the file, 0 if it cannot be
// read.
func (f *file) schemaOf() int64 {
	var header [4]byte
	if _, err := f.data.ReadAt(header[:], 40); err != nil {
		return 0
	}
	return int64(binary.BigEndian.Uint32(header[:]))
}

// identityVersion is the version of the schema that has the table identity.
const identityVersion = 6

// errReplaced is the error of a database whose file was written over.
var errReplaced = errors.New("the content of the database was replaced while it was open; restart the server to go on with the file that is there")

// look reads the file at the path, as identify does.
func (f *file) look(ctx context.Context) (c content) {
	c.seq = -1
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
			return errors.New("there is no token") // the page of the schema that has it is only in the log
		case tables == 0:
			return nil
		}
		if rows, err = (conn{made}).query("SELECT token, is_open FROM identity"); err != nil {
			return err
		}
		var text []byte
		if len(rows) != 1 || scan(rows[0], &text, &c.open) != nil || len(text) != len(c.token) {
			return errors.New("there is no token")
		}
		c.token = token(text)
		// A page that was torn has no such row.
		rows, err = conn{made}.query("SELECT seq FROM sqlite_sequence WHERE name = 'events' AND typeof(seq) = 'integer'")
		c.none = err == nil && len(rows) == 0
		if err == nil && len(rows) == 1 {
			err = scan(rows[0], &c.seq)
		}
		if err == nil {
			c.places, _ = f.find(conn{made}, c.token) // the token is known without
		}
		return nil
	}()
	return c
}

// find returns the places in the file, which has all that the connection sees.
func (f *file) find(c conn, t token) (p places, _ error) {
	rows, err := c.query("SELECT page_size, (SELECT rootpage FROM sqlite_schema WHERE name = 'identity'), " +
		"(SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_sequence') FROM pragma_page_size")
	if err != nil {
		return p, err
	}
	var identity, sequence int64
	if err := scan(rows[0], &p.pageSize, &identity, &sequence); err != nil {
		return p, err
	}
	page := make([]byte, p.pageSize)
	at := (identity - 1) * p.pageSize
	if _, err := f.data.ReadAt(page, at); err != nil {
		return p, err
	}
	offset := bytes.Index(page, t[:])
	if offset < 0 {
		return p, errors.New("the token of the database is not in its file")
	}
	p.token, p.sequence = at+int64(offset), (sequence-1)*p.pageSize
	p.schema = f.schemaOf()
	return p, nil
}

// judge refuses a database and a write-ahead log that do not belong together, and
// a database that misses events. It writes the state with which it is opened.
func (f *file) judge(ctx context.Context) error {
	var last *state
	var err error
	if f.state, last, err = openState(f.path+".state", f.info); err != nil {
		return err
	}
	var c content // of an empty file
	if f.info.Size() > 0 {
		c = f.look(ctx)
	}
	isLast := last != nil && f.matches(last, &c)
	if err := f.requireLogHere(c, isLast); err != nil {
		return err
	}
	start := &state{now: c.token}
	if isLast {
		if err := f.judgeLast(last, c); err != nil {
			return err
		}
		start.at, start.newest, start.settled = last.at, last.newest, last.settled
	} else if c.err != nil {
		start = nil // nothing is known
	}
	if last != nil && !isLast {
		for _, log := range []string{f.path + "-wal", f.path + "-journal"} {
			if fileSize(log) > 0 {
				return f.foreignLog(log, "which was restored, replaced, or opened elsewhere since", false)
			}
		}
		f.logger.Warn("sqlitestore: the database is not the one that was last open at this path; it was restored, or replaced",
			"database", f.path, "newest event before", last.newest, "newest event now", c.seq)
	}
	f.token = newToken()
	if start != nil {
		start.next = f.token
	}
	text, err := f.state.begin(start)
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	f.stateSynced(text)
	return nil
}

// judgeLast judges the database that was last open here.
func (f *file) judgeLast(last *state, c content) error {
	log := f.path + "-wal"
	if c.none && last.schema == f.schemaOf() {
		c.seq = 0
	}
	switch hasLog := fileSize(log) > 0; {
	case hasLog && c.seq >= 0 && c.seq < last.settled:
		return f.foreignLog(log, "which is an older copy of its database", true)
	case hasLog && last.schema > 0 && last.schema != f.schemaOf() && !f.inLog(holdsSchema(f.schemaOf())):
		return f.foreignLog(log, "which is a copy that SQLite made of its database, or was changed by another program as the server crashed", true)
	case !hasLog && c.seq >= 0 && c.seq < last.newest:
		return f.missing(last.newest, c.seq)
	}
	return nil
}

// requireLogHere notices a database that was not closed, whose log is not next to
// this name, and of which no state is known.
func (f *file) requireLogHere(c content, isLast bool) error {
	if !c.open || isLast {
		return nil
	}
	if _, err := os.Lstat(f.path + "-wal"); err == nil {
		return nil
	}
	if links(f.info) > 1 {
		return f.otherName()
	}
	f.logger.Warn("sqlitestore: the database was not closed, and has no write-ahead log here; if it was moved or copied without, events are missing",
		"database", f.path)
	return nil
}

// matches reports whether a state is of this database. At its last offset the
// token is found even if the rest cannot be read.
func (f *file) matches(last *state, c *content) bool {
	var t token
	if last.at > 0 {
		if _, err := f.data.ReadAt(t[:], last.at); err == nil && last.has(t) {
			c.token, c.err = t, nil
			return true
		}
	}
	if c.err != nil {
		// A checkpoint was cut off: the one that brings the table, or one after a
		// VACUUM, which has the whole database in the log.
		return last.now == token{} || f.inLog(holdsToken(last.now)) || last.next != token{} && f.inLog(holdsToken(last.next))
	}
	return last.has(c.token)
}

// foreignLog is the error for a log that does not belong to the database. If that
// is a copy, the state file is to be moved away, too: it tells of later events.
func (f *file) foreignLog(path, reason string, isCopy bool) error {
	log, state := quoted(path), quoted(f.path+".state")
	remedy := fmt.Sprintf("mv %s %[1]s.old", log)
	if isCopy {
		remedy += fmt.Sprintf(" && mv %s %[1]s.old", state)
	}
	return fmt.Errorf("%w: %s does not belong to %s, %s. If both were put there together, such as a copy of a database that was not closed, keep them: mv %s %[5]s.old. "+
		"To start with the database as it is, without the events of the log: %s. "+
		"If the database was put there by mistake, put back the one that the log belongs to", ErrForeignLog, log, quoted(f.path), reason, state, remedy)
}

// missing is the error for a database that has fewer events than were
// acknowledged.
func (f *file) missing(newest, found int64) error {
	state := quoted(f.path + ".state")
	return fmt.Errorf("%w: number %d was acknowledged, and %s ends at %d. Most likely %s was deleted or damaged after a crash: put it back. "+
		"If this is an older copy, or to go on without these events: mv %s %[6]s.old",
		ErrEventsMissing, newest, quoted(f.path), found, quoted(f.path+"-wal"), state)
}

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

// settle notes the state of the database file. The write-ahead log is empty.
func (f *file) settle(c conn, newest int64) error {
	p, err := f.find(c, f.token)
	if err != nil {
		return err
	}
	f.places.Store(&p)
	f.settled.Store(newest)
	f.state.state = state{now: f.token, at: p.token, schema: p.schema, newest: newest, settled: newest}
	f.updateState()
	return nil
}

// updateState writes the state file. It is a help: an error is logged, once.
func (f *file) updateState() {
	if err := f.state.update(); err != nil {
		f.logger.Warn("sqlitestore: the state file cannot be written", "error", err)
	}
}

// syncState is updateState, durable: what it says of the schema is no lower bound.
func (f *file) syncState() {
	f.updateState()
	if err := f.state.file.Sync(); err != nil {
		f.logger.Warn("sqlitestore: the state file cannot be synced", "error", err)
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

// checkpointed notes that all events up to the newest are in the database file.
func (f *file) checkpointed(newest int64) {
	if newest > f.settled.Load() {
		f.settled.Store(newest)
		f.state.state.settled = newest
		f.updateState()
	}
}

// hasToken reports whether the open file has the store's database, or a copy of it that
// was made since it was opened.
func (f *file) hasToken() bool {
	var t token
	_, err := f.data.ReadAt(t[:], f.places.Load().token)
	return err == nil && t == f.token
}

// isOurs reports whether the open file has the store's database, and no copy of it. No
// checkpoint may be under way.
func (f *file) isOurs() bool {
	settled := f.settled.Load()
	return f.hasToken() && f.schemaOf() == f.places.Load().schema && (settled == 0 || f.settledSeq() >= settled)
}

// hasName reports whether the open file still has a name.
func (f *file) hasName() bool {
	info, err := f.data.Stat()
	return err != nil || links(info) > 0
}

// check returns an error if the store's database is not at its path any more. The
// writer calls it, with its connection or nil, before each transaction: it takes
// some microseconds.
func (f *file) check(s *session) error {
	err := f.checkPlace()
	if err == nil && (!f.hasToken() || f.schemaOf() != f.places.Load().schema) {
		err = f.checkContent(s)
	}
	return err
}

// checkAll is check before something is written to the file, which may be an older
// copy of the database. No checkpoint may be under way.
func (f *file) checkAll(s *session) error {
	err := f.checkPlace()
	if err == nil && !f.isOurs() {
		err = f.checkContent(s)
	}
	return err
}

// beforeCheckpoint is checkAll. If the checkpoint brings another schema, the state
// does not name one until it is over: the process may end meanwhile.
func (f *file) beforeCheckpoint(s *session) error {
	if err := f.checkAll(s); err != nil || s == nil {
		return err
	}
	schema, err := s.schemaVersion()
	if err == nil && schema != f.state.state.schema && f.state.state.schema > 0 {
		f.state.state.schema = 0
		f.syncState()
	}
	return err
}

// checkContent looks closer. Another program may have changed the schema or moved
// pages, with VACUUM; a connection that was open before knows of that, and so does
// the log, and not of a file that was written over.
func (f *file) checkContent(s *session) error {
	old := f.places.Load().schema
	c := f.look(context.Background())
	if c.isOther(f.token) {
		return errReplaced
	}
	var known, changed bool
	if s != nil {
		schema, err := s.schemaVersion()
		if err != nil {
			return err
		}
		known, changed = c.schema == schema, schema != old
	} else {
		known = c.schema == old || f.inLog(holdsSchema(c.schema))
		changed = f.inLog(holdsOtherSchema(old))
	}
	settled := f.settled.Load()
	if c.err != nil || c.token != f.token || c.places.token == 0 || !known || settled > 0 && c.seq < settled {
		if changed {
			return nil // some of the change is still only in the log: a checkpoint is under way, or was cut off
		}
		return errReplaced
	}
	f.places.Store(&c.places)
	f.state.state.at, f.state.state.schema = c.places.token, c.schema
	f.syncState()
	return nil
}

// isOther says that the file has another database, whole.
func (c content) isOther(t token) bool { return c.err == nil && c.token != t }

// checkRead is check for those who read.
func (f *file) checkRead(ctx context.Context) error {
	if f.hasToken() {
		return ctx.Err()
	}
	c := f.look(ctx)
	if c.token == f.token || ctx.Err() != nil || !c.isOther(f.token) && f.inLog(holdsOtherSchema(f.places.Load().schema)) {
		return ctx.Err()
	}
	return errReplaced
}

// settledSeq reads the newest seq that is in the file itself, -1 if it cannot. Its
// table has one page. See https://www.sqlite.org/fileformat2.html#b_tree_pages.
func (f *file) settledSeq() int64 {
	p := f.places.Load()
	if int64(len(f.page)) != p.pageSize {
		f.page = make([]byte, p.pageSize)
	}
	page := f.page
	if _, err := f.data.ReadAt(page, p.sequence); err != nil {
		return -1
	}
	const leaf, constantOne = 13, 9
	cell := int(binary.BigEndian.Uint16(page[8:]))
	if page[0] != leaf || binary.BigEndian.Uint16(page[3:]) != 1 || cell+11 > len(page) {
		return -1
	}
	// The size of the record and its row number. Then the record: the size of its
	// header, the types of the columns, a text of six bytes, an integer.
	c := page[cell:]
	size, ok := map[byte]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, constantOne: 0}[c[4]]
	if c[0] > 127 || c[1] > 127 || c[2] != 3 || c[3] != 13+2*6 || string(c[5:11]) != "events" || !ok || len(c) < 11+size {
		return -1
	}
	if c[4] == constantOne {
		return 1
	}
	var seq int64
	for _, b := range c[11 : 11+size] {
		seq = seq<<8 | int64(b)
	}
	return seq
}

// inLog reports whether a frame of the write-ahead log holds what is looked for. See
// https://www.sqlite.org/fileformat2.html#walformat.
// It reads the whole log at worst, so it is for databases that another program changed.
func (f *file) inLog(holds func(page uint32, content []byte) bool) bool {
	log, err := os.Open(f.path + "-wal")
	if err != nil {
		return false
	}
	defer log.Close() //nolint:errcheck // it was only read
	r := bufio.NewReaderSize(log, 1<<16)
	var header [32]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return false
	}
	size := binary.BigEndian.Uint32(header[8:])
	if size < 512 || size > 1<<16 {
		return false
	}
	frame := make([]byte, 24+size)
	for {
		// Frames with other salts are left from before the log was started over.
		if _, err := io.ReadFull(r, frame); err != nil || !bytes.Equal(frame[8:16], header[16:24]) {
			return false
		}
		if holds(binary.BigEndian.Uint32(frame), frame[24:]) {
			return true
		}
	}
}

func holdsToken(t token) func(uint32, []byte) bool {
	return func(_ uint32, content []byte) bool { return bytes.Contains(content, t[:]) }
}

func holdsSchema(version int64) func(uint32, []byte) bool {
	return func(page uint32, content []byte) bool { return page == 1 && schemaIn(content) == version }
}

func holdsOtherSchema(version int64) func(uint32, []byte) bool {
	return func(page uint32, content []byte) bool { return page == 1 && schemaIn(content) != version }
}

// schemaIn returns the schema version that the first page has.
func schemaIn(page []byte) int64 { return int64(binary.BigEndian.Uint32(page[40:])) }

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

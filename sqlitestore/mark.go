package sqlitestore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// SQLite replays any write-ahead log that has the name of the database, whichever
// database wrote it, and then mixes the pages of both. So the database has a mark,
// and the first transaction after a checkpoint, with which SQLite may start the log
// over, changes it: that mark names the one that the file has. A file and a log
// belong together if the log has a mark that is the file's, or that follows it.
// Whatever came after a copy was made, the copy does not have the mark that the log
// follows.

// token is a random value that nothing else has. It is zero in databases of earlier
// versions.
type token [16]byte

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // it never fails
	return t
}

// mark is the content of the table identity.
type mark struct {
	opening token // changes when a store opens the database; each Backup has its own
	before  token // log of the mark that this one follows
	log     token // changes with each mark but the one of closing

	// schema is the schema version of the file that the log continues, 0 if unknown.
	// A copy that SQLite made, with VACUUM INTO or .backup, has another.
	schema uint32

	open bool // the store was not closed
}

// markMagic begins a mark, so that it is found in a page. It is not UTF-8, so no
// text of a client has it.
var markMagic = []byte("\xff\xfechargeingest\xff\xfe")

const markSize = 16 + 3*16 + 4 + 4 + 4

func (m mark) encode() []byte {
	data := append(make([]byte, 0, markSize), markMagic...)
	data = append(data, m.opening[:]...)
	data = append(data, m.before[:]...)
	data = append(data, m.log[:]...)
	data = binary.BigEndian.AppendUint32(data, m.schema)
	open := uint32(0)
	if m.open {
		open = 1
	}
	data = binary.BigEndian.AppendUint32(data, open)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

// decodeMark returns false if the data do not begin with a whole mark.
func decodeMark(data []byte) (m mark, ok bool) {
	if len(data) < markSize || !bytes.HasPrefix(data, markMagic) {
		return mark{}, false
	}
	data = data[:markSize]
	fields := data[len(markMagic):]
	for _, t := range []*token{&m.opening, &m.before, &m.log} {
		fields = fields[copy(t[:], fields):]
	}
	m.schema = binary.BigEndian.Uint32(fields)
	m.open = binary.BigEndian.Uint32(fields[4:]) == 1
	return m, bytes.Equal(data, m.encode())
}

// setMark returns the statement that sets the mark.
func setMark(m mark) string { return fmt.Sprintf("UPDATE identity SET mark = x'%x'", m.encode()) }

// marksIn returns the marks in a page, and the offset of the last one.
func marksIn(page []byte) (marks []mark, offset int) {
	for at := 0; ; at++ {
		next := bytes.Index(page[at:], markMagic)
		if next < 0 {
			return marks, offset
		}
		at += next
		if m, ok := decodeMark(page[at:]); ok {
			marks, offset = append(marks, m), at
		}
	}
}

// markAt reads the mark at an offset of the file. A page that is being written, by
// a checkpoint, may have half of two: it is read again.
func (f *file) markAt(offset int64) (m mark, ok bool) {
	var data [markSize]byte
	for range 3 {
		if _, err := f.data.ReadAt(data[:], offset); err != nil {
			return mark{}, false
		}
		if m, ok = decodeMark(data[:]); ok {
			return m, true
		}
	}
	return mark{}, false
}

// follow returns the mark that a transaction is to set, and false if it is to set
// none. The transaction must have begun. If the file has the newest mark, it may
// have all of the log, and SQLite start that over.
func (f *file) follow() (m mark, due bool) {
	found, ok := f.markAt(f.place.Load().offset)
	if !ok || found.log != f.mark.log {
		return f.mark, false
	}
	m = f.mark
	m.before, m.log, m.schema = m.log, newToken(), f.schemaOf()
	f.tried = m
	return m, true
}

// hasOurMark reports whether a mark that the file has can be the store's: its newest
// one, the one before, which the log follows, or one that a transaction set whose
// end is not known.
func (f *file) hasOurMark(m mark) bool {
	if m.opening != f.opening || m.log != f.mark.log && m.log != f.mark.before && m.log != f.tried.log {
		return false
	}
	if m.log == f.mark.log {
		f.checkpointed()
	}
	return true
}

// checkpointed notes that the file has the newest mark, so no older one can be its.
func (f *file) checkpointed() { f.mark.before = f.mark.log }

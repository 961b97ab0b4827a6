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
// and transactions set others, each of which names the one before: all that change
// rows and store no event, the first one with events behind these, and the first
// after a checkpoint, with which SQLite may start the log over. So the mark of a file
// and its newest event tell what the file has. It belongs together with a log that
// has its mark, or the next one.

// token is a random value that nothing else has. It is zero in databases of earlier
// versions.
type token [16]byte

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // it never fails
	return t
}

// stamp names the transaction that set a mark. No other one has it.
type stamp struct {
	opening token  // changes when a store opens the database; each Backup has its own
	number  uint64 // increases with each mark
}

// mark is the content of the table identity.
type mark struct {
	stamp
	before stamp  // of the mark that this one follows
	seq    int64  // of the newest event before
	header header // of the file when the mark was set
	open   bool   // the store was not closed
}

// header is what the first page of a file has at headerOffset: among others the
// number of pages and the schema version. Two files with the same mark differ in it
// if SQLite made one of them, with VACUUM INTO or .backup, or another program wrote
// to one. See https://www.sqlite.org/fileformat2.html#the_database_header.
type header [20]byte

const headerOffset = 24

// changes counts the transactions that wrote the first page, more or less.
func (h header) changes() uint32 { return binary.BigEndian.Uint32(h[:]) }

// schema is the schema version, 0 if the header is unknown.
func (h header) schema() uint32 { return binary.BigEndian.Uint32(h[16:]) }

// markMagic begins a mark, so that it is found in a page. It is not UTF-8, so no
// text of a client has it.
var markMagic = []byte("\xff\xfechargeingest\xff\xfe")

const markSize = 16 + 2*(16+8) + 8 + 20 + 4 + 4

func (m mark) encode() []byte {
	data := append(make([]byte, 0, markSize), markMagic...)
	for _, s := range []stamp{m.stamp, m.before} {
		data = append(data, s.opening[:]...)
		data = binary.BigEndian.AppendUint64(data, s.number)
	}
	data = binary.BigEndian.AppendUint64(data, uint64(m.seq))
	data = append(data, m.header[:]...)
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
	for _, s := range []*stamp{&m.stamp, &m.before} {
		fields = fields[copy(s.opening[:], fields):]
		s.number = binary.BigEndian.Uint64(fields)
		fields = fields[8:]
	}
	m.seq = int64(binary.BigEndian.Uint64(fields))
	fields = fields[8:]
	fields = fields[copy(m.header[:], fields):]
	m.open = binary.BigEndian.Uint32(fields) == 1
	return m, bytes.Equal(data, m.encode())
}

// setMark returns the statement that sets the mark.
func setMark(m mark) string { return fmt.Sprintf("UPDATE identity SET mark = x'%x'", m.encode()) }

// headerOf returns the header of the file, a zero one if it cannot be read.
func (f *file) headerOf() (h header) {
	if _, err := f.data.ReadAt(h[:], headerOffset); err != nil {
		return header{}
	}
	return h
}

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

// next returns a mark that follows the newest one, in a database whose newest event
// is at seq.
func (f *file) nextMark(seq int64) mark {
	f.lastNumber++
	return mark{stamp{f.opening, f.lastNumber}, f.mark.stamp, seq, f.headerOf(), true}
}

// mayStartOver reports whether the file may have all of the log, so that SQLite may
// start that over in the transaction that has begun.
func (f *file) walMayRestart() bool {
	m, ok := f.markAt(f.position.Load().offset)
	return !ok || m.stamp == f.mark.stamp
}

// hasOurMark reports whether the file can have a mark: not an older one than it had
// before. A transaction that failed may have set the newest.
func (f *file) acceptMark(m mark) bool {
	if m.opening != f.opening || m.number < f.minNumber || m.number > f.lastNumber {
		return false
	}
	f.minNumber = m.number
	return true
}

// checkpointed notes that the file has all of the log.
func (f *file) noteCheckpoint() { f.minNumber = f.mark.number }

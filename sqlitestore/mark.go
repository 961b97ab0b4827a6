package sqlitestore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// SQLite replays any WAL with the database's name, even another database's, and so mixes their
// pages. Therefore the database has a mark, which names the mark before. A transaction sets a
// mark if it changes rows but stores no event, if it stores the first events after that, or if
// SQLite may restart the WAL. The mark and the newest event identify a file's content. A WAL
// belongs to the file if it has that mark or the next one.

// token is random, or zero in databases of earlier versions.
type token [16]byte

func newToken() (t token) {
	_, _ = rand.Read(t[:])
	return t
}

// stamp is unique to the transaction that set a mark.
type stamp struct {
	opening token // new for each Open and Backup
	number  uint64
}

type mark struct {
	stamp
	previous stamp
	newest   int64 // event before the transaction
	header   header
	open     bool // not closed by the store
}

// header is a part of the first page. It differs in files with the same mark if SQLite copied
// one (VACUUM INTO, .backup) or another program wrote to one. See
// https://www.sqlite.org/fileformat2.html#the_database_header.
type header [20]byte

const headerOffset = 24

// changes is about the number of writes of the first page.
func (h header) changes() uint32 { return binary.BigEndian.Uint32(h[:]) }

func (h header) schema() uint32 { return binary.BigEndian.Uint32(h[16:]) }

// markMagic finds marks in a page. Clients cannot store it: it is not valid UTF-8.
var markMagic = []byte("\xff\xfechargeingest\xff\xfe")

const markSize = 16 + 2*(16+8) + 8 + 20 + 4 + 4

func (m mark) encode() []byte {
	data := append(make([]byte, 0, markSize), markMagic...)
	for _, s := range []stamp{m.stamp, m.previous} {
		data = append(data, s.opening[:]...)
		data = binary.BigEndian.AppendUint64(data, s.number)
	}
	data = binary.BigEndian.AppendUint64(data, uint64(m.newest))
	data = append(data, m.header[:]...)
	open := uint32(0)
	if m.open {
		open = 1
	}
	data = binary.BigEndian.AppendUint32(data, open)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

func decodeMark(data []byte) (m mark, ok bool) {
	if len(data) < markSize || !bytes.HasPrefix(data, markMagic) {
		return mark{}, false
	}
	data = data[:markSize]
	fields := data[len(markMagic):]
	for _, s := range []*stamp{&m.stamp, &m.previous} {
		fields = fields[copy(s.opening[:], fields):]
		s.number = binary.BigEndian.Uint64(fields)
		fields = fields[8:]
	}
	m.newest = int64(binary.BigEndian.Uint64(fields))
	fields = fields[8:]
	fields = fields[copy(m.header[:], fields):]
	m.open = binary.BigEndian.Uint32(fields) == 1
	return m, bytes.Equal(data, m.encode())
}

func setMarkSQL(m mark) string { return fmt.Sprintf("UPDATE identity SET mark = x'%x'", m.encode()) }

func (f *file) headerOf() (h header) {
	if _, err := f.data.ReadAt(h[:], headerOffset); err != nil {
		return header{}
	}
	return h
}

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

// markAt retries, because a checkpoint may be writing the page.
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

func (f *file) nextMark(seq int64) mark {
	f.lastNumber++
	return mark{stamp{f.opening, f.lastNumber}, f.mark.stamp, seq, f.headerOf(), true}
}

// walMayRestart reports whether SQLite may restart the WAL in this transaction: the file may
// have all frames.
func (f *file) walMayRestart() bool {
	m, ok := f.markAt(f.position.Load().offset)
	return !ok || m.stamp == f.mark.stamp
}

// acceptMark reports whether m is from this opening, and not older than the last accepted one.
// A failed transaction may have set m.
func (f *file) acceptMark(m mark) bool {
	if m.opening != f.opening || m.number < f.minNumber || m.number > f.lastNumber {
		return false
	}
	f.minNumber = m.number
	return true
}

func (f *file) noteCheckpoint() { f.minNumber = f.mark.number }

package sqlitestore

import (
	"math/rand/v2"
	"os"
	"sync"

	sqlite3 "modernc.org/sqlite/lib"
)

// model is a disk that keeps what real ones promise to keep, and no more: of each
// file what was synced. When the power is cut any part of what was written since
// may be there, sector by sector. What a sync failed for is gone for good,
// though it can still be read: so it is with Linux and its file systems, see
// https://wiki.postgresql.org/wiki/Fsync_Errors.
type diskModel struct {
	path   string // of the database
	random *rand.Rand
	plan   diskPlan
	onCut  func() // called when the process is dead, before anybody notices

	mu      sync.Mutex
	files   map[string]*diskFile // by kind
	state   []byte               // the state file as it was last synced
	ops     int
	matched int           // operations of the kind that fails
	ended   chan struct{} // closed when the process is dead, of a power cut or otherwise
	dead    bool
	cut     bool
}

// modelPlan says when a model fails; 0 is never.
type diskPlan struct {
	cutAt   int    // the power is cut before the nth operation
	dieAt   int    // the process dies before the nth sync of the log
	failing string // "sync" or "write"
	failAt  int    // the nth of these fails
	failFor int    // and so many from there on
}

// modelFile is a file as it would be found without power.
type diskFile struct {
	durable []byte
	pending []operation // since the last sync
}

// suffixes are what the names of files end in, by kind.
var suffixes = map[string]string{"database": "", "log": "-wal", "journal": "-journal"}

// newModel returns the disk under a database. Its files are what the last disk
// has if only a process died; else they are durable.
func newDiskModel(path string, random *rand.Rand, plan diskPlan, onCut func(), last *diskModel) (*diskModel, error) {
	m := &diskModel{path: path, random: random, plan: plan, onCut: onCut, ended: make(chan struct{})}
	if last != nil && last.dead && !last.cut {
		m.files = last.files
		return m, nil
	}
	m.files = make(map[string]*diskFile)
	for kind, suffix := range suffixes {
		durable, err := os.ReadFile(path + suffix)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		m.files[kind] = &diskFile{durable: durable}
	}
	return m, nil
}

// operate is the [disk].
func (m *diskModel) operate(op operation) int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ops++; m.ops == m.plan.cutAt {
		m.cutPower()
	}
	if op.is("sync", "log") {
		if m.plan.dieAt--; m.plan.dieAt == 0 {
			m.die()
		}
	}
	if m.dead {
		return sqlite3.SQLITE_IOERR
	}
	f := m.files[op.file]
	if op.kind == m.plan.failing {
		m.matched++
		if m.matched >= m.plan.failAt && m.matched < m.plan.failAt+m.plan.failFor {
			if op.kind == "write" {
				return sqlite3.SQLITE_IOERR_WRITE
			}
			f.pending = nil
			return sqlite3.SQLITE_IOERR_FSYNC
		}
	}
	switch op.kind {
	case "sync":
		for _, p := range f.pending {
			f.apply(p, 0, len(p.data))
		}
		f.pending = nil
	case "delete":
		*f = diskFile{}
	default:
		op.data = append([]byte(nil), op.data...)
		f.pending = append(f.pending, op)
	}
	return sqlite3.SQLITE_OK
}

// apply makes an operation durable, of a write the bytes from begin to end.
func (f *diskFile) apply(op operation, begin, end int) {
	if op.kind == "truncate" {
		f.grow(op.offset)
		f.durable = f.durable[:op.offset]
		return
	}
	f.grow(op.offset + int64(end))
	copy(f.durable[op.offset+int64(begin):], op.data[begin:end])
}

// grow fills up with zeros.
func (f *diskFile) grow(size int64) {
	if more := size - int64(len(f.durable)); more > 0 {
		f.durable = append(f.durable, make([]byte, more)...)
	}
}

// stop cuts the power now, unless the process was dead before.
func (m *diskModel) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dead {
		m.cutPower()
	}
}

// die ends the process: it can do nothing any more.
func (m *diskModel) die() {
	if !m.dead {
		m.dead = true
		m.onCut()
		close(m.ended)
	}
}

func (m *diskModel) cutPower() {
	m.die()
	m.cut = true
	// All of what is pending, none of it, or about so much.
	const sector = 512
	part := []float64{0, 1, 0.5, 0.95}[m.random.IntN(4)]
	for _, f := range m.files {
		for _, p := range f.pending {
			if p.kind == "truncate" {
				if m.random.Float64() < part {
					f.apply(p, 0, 0)
				}
				continue
			}
			for begin := 0; begin < len(p.data); begin += sector {
				if m.random.Float64() < part {
					f.apply(p, begin, min(begin+sector, len(p.data)))
				}
			}
		}
	}
}

// stateSynced takes the durable content of the state file.
func (m *diskModel) stateSynced(text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = text
}

// restore puts the files in place that are there after the cut. Nobody may have
// one open. The state file may be newer than its last sync.
func (m *diskModel) restore() error {
	if m.state != nil && m.random.IntN(2) == 0 {
		if err := os.WriteFile(m.path+".state", m.state, 0o600); err != nil {
			return err
		}
	}
	for kind, suffix := range suffixes {
		err := os.Remove(m.path + suffix)
		if f := m.files[kind]; f.durable != nil {
			err = os.WriteFile(m.path+suffix, f.durable, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

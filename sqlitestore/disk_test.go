package sqlitestore

import (
	"math/rand/v2"
	"os"
	"sync"

	sqlite3 "modernc.org/sqlite/lib"
)

// diskModel keeps synced data, and after a power cut any sectors of later writes. Data of a
// failed sync are lost although they can still be read, as on Linux.
type diskModel struct {
	path   string
	random *rand.Rand
	plan   diskPlan
	onCut  func()

	mu      sync.Mutex
	files   map[string]*diskFile
	state   []byte
	ops     int
	matched int
	ended   chan struct{}
	dead    bool
	cut     bool
}

type diskPlan struct {
	cutAt   int // power cut before the nth operation
	dieAt   int // death before the nth sync of the WAL
	failing string
	failAt  int
	failFor int
}

type diskFile struct {
	durable []byte
	pending []operation
}

var suffixes = map[string]string{"database": "", "wal": "-wal", "journal": "-journal"}

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

func (m *diskModel) operate(op operation) int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ops++; m.ops == m.plan.cutAt {
		m.cutPower()
	}
	if op.is("sync", "wal") {
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

func (f *diskFile) apply(op operation, begin, end int) {
	if op.kind == "truncate" {
		f.grow(op.offset)
		f.durable = f.durable[:op.offset]
		return
	}
	f.grow(op.offset + int64(end))
	copy(f.durable[op.offset+int64(begin):], op.data[begin:end])
}

func (f *diskFile) grow(size int64) {
	if more := size - int64(len(f.durable)); more > 0 {
		f.durable = append(f.durable, make([]byte, more)...)
	}
}

func (m *diskModel) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dead {
		m.cutPower()
	}
}

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

func (m *diskModel) stateSynced(text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = text
}

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

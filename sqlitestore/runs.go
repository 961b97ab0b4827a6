package sqlitestore

import (
	"fmt"
	"slices"

	"example.com/chargeingest/internal/sortedrun"
)

// The index is in runs. A generation of recent events becomes a run of level 0, and the runs of a
// level one of the next. This writes each entry a few times, but many per page: in a B-tree, each
// random value changes another page.

const (
	levels = 16

	// An event has up to three entries, each in a run of a few levels.
	mergedPerEvent = 64
)

// chunksBetweenSQL wants the direction.
const chunksBetweenSQL = `SELECT entries FROM runs CROSS JOIN chunks ON run = runs.id
	WHERE last >= ?1 AND last <= coalesce((SELECT min(last) FROM chunks WHERE run = runs.id AND last >= ?2), ?2)
	ORDER BY runs.id %[1]s, last %[1]s`

// The id of a run has the seq of its last event and its level.
func runID(through int64, level int) int64 { return through*levels + int64(level) }

func runLevel(id int64) int { return int(id % levels) }

// runs is the state of the runs. A transaction changes a clone.
type runs struct {
	*tuning
	ids    []int64 // ascending
	merges []merge // the level decreases; the last one is next
	due    int     // entries to merge
}

type merge struct {
	id       int64             // of the new run
	oldest   int64             // seq of an event
	inputs   []sortedrun.Input // Run is 0 for a generation
	replaces []int64           // runs
	merged   bool
}

func (r *runs) clone() *runs {
	c := &runs{r.tuning, slices.Clone(r.ids), slices.Clone(r.merges), r.due}
	for i := range c.merges {
		c.merges[i].inputs = slices.Clone(c.merges[i].inputs)
		c.merges[i].replaces = slices.Clone(c.merges[i].replaces)
	}
	return c
}

// fullLevel returns the lowest level that can be merged, or -1.
func (r *runs) fullLevel() int {
	var count [levels]int
	for _, id := range r.ids {
		count[runLevel(id)]++
	}
	top := levels - 1
	if n := len(r.merges); n > 0 {
		top = runLevel(r.merges[n-1].id)
	}
	for level := range top - 1 {
		if count[level] >= r.runsPerLevel {
			return level
		}
	}
	return -1
}

func (r *runs) retiring() bool {
	return slices.ContainsFunc(r.merges, func(m merge) bool { return runLevel(m.id) == 0 && !m.merged })
}

func (r *runs) busy() bool { return len(r.merges) > 0 || r.fullLevel() >= 0 }

// retireYoung makes a run of the events up to a seq.
func (s *session) retireYoung(through int64) {
	m := merge{id: runID(through, 0)}
	if entries := s.recent.retire(); len(entries) > 0 {
		m.inputs = []sortedrun.Input{{Entries: entries}}
	}
	s.runs.merges = append(s.runs.merges, m)
}

func (s *session) mergeRuns(r *runs) error {
	for ; r.due >= r.chunkEntries && r.busy(); r.due -= r.chunkEntries {
		if level := r.fullLevel(); level >= 0 {
			if err := s.startMerge(r, level); err != nil {
				return err
			}
		}
		if err := s.mergeStep(r, &r.merges[len(r.merges)-1]); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) startMerge(r *runs, level int) error {
	oldest, err := s.oldestSeq()
	if err != nil {
		return err
	}
	m := merge{oldest: oldest}
	for _, id := range r.ids {
		isOld := id < runID(oldest, 0)
		if runLevel(id) == level {
			m.id = id + 1
			if !isOld {
				m.inputs = append(m.inputs, sortedrun.Input{Run: id, Last: []byte{}})
			}
		}
		if runLevel(id) == level || isOld {
			m.replaces = append(m.replaces, id)
		}
	}
	r.merges = append(r.merges, m)
	return nil
}

func (s *session) oldestSeq() (seq int64, err error) {
	err = s.row("SELECT coalesce(min(seq), 0) FROM events", &seq)
	return seq, err
}

func (s *session) mergeStep(r *runs, m *merge) error {
	switch {
	case len(m.inputs) > 0:
		return s.writeChunk(m, r.chunkEntries)
	case !m.merged:
		return s.publish(r, m)
	case len(m.replaces) > 0:
		if n, err := affected(s.deleteChunks.exec(m.replaces[0])); err != nil || n > 0 {
			return err
		}
		m.replaces = m.replaces[1:]
	default:
		r.merges = r.merges[:len(r.merges)-1]
	}
	return nil
}

func (s *session) writeChunk(m *merge, entries int) error {
	chunk, left, err := sortedrun.Merge(m.inputs, entries, m.oldest, s.readInput)
	if m.inputs = left; err != nil || len(chunk) == 0 {
		return err
	}
	_, err = s.insertChunk.exec(m.id, chunk[len(chunk)-sortedrun.EntryBytes:], chunk)
	return err
}

func (s *session) readInput(in *sortedrun.Input) error {
	if in.Run == 0 {
		return nil
	}
	rows, err := s.nextChunk.query(in.Run, in.Last)
	if err == nil && len(rows) > 0 {
		err = scan(rows[0], &in.Last, &in.Entries)
	}
	return err
}

// publish replaces runs by the new one.
func (s *session) publish(r *runs, m *merge) error {
	m.merged = true
	for _, id := range m.replaces {
		if _, err := s.deleteRun.exec(id); err != nil {
			return err
		}
	}
	r.ids = slices.DeleteFunc(r.ids, func(id int64) bool { return slices.Contains(m.replaces, id) })
	if _, err := s.insertRun.exec(m.id); err != nil {
		return err
	}
	r.ids = append(r.ids, m.id)
	slices.Sort(r.ids)
	if runLevel(m.id) > 0 {
		return nil
	}
	for reference := range s.recent.old.references {
		s.filters.add(reference)
	}
	_, err := s.setMerged.exec(m.id / levels)
	return err
}

const indexedSQL = `SELECT seq, name, coalesce(content ->> '$.reference', ''), coalesce(content ->> '$.customer_id', ''),
	coalesce(content ->> '$.customer_reference', '')
	FROM (SELECT seq, platform, iif(json_valid(content), content, '{}') AS content FROM events) CROSS JOIN platforms ON platforms.id = platform`

// loadIndex leaves less than a generation in memory.
func (s *session) loadIndex(f *file) error {
	newest, err := s.newestEvent()
	if err != nil {
		return err
	}
	var merged int64
	var secret []byte
	if err := s.row("SELECT seq, secret FROM merged", &merged, &secret); err != nil {
		return err
	}
	s.recent = newRecentIndex(f.tuning, secret, newest)
	rows, err := s.query("SELECT id FROM runs ORDER BY id")
	if err != nil {
		return err
	}
	s.runs = &runs{tuning: &f.tuning, ids: make([]int64, len(rows))}
	for i, row := range rows {
		if err := scan(row, &s.runs.ids[i]); err != nil {
			return err
		}
		if s.runs.ids[i] < levels {
			return fmt.Errorf("the index has the run %d: the database is damaged", s.runs.ids[i])
		}
	}
	for full := true; full; {
		rows, err := s.query(fmt.Sprintf(indexedSQL+" WHERE seq > %d ORDER BY seq LIMIT %d", merged, f.generationSize))
		if err != nil {
			return err
		}
		for _, row := range rows {
			var platform string
			var values [kinds]string
			if err := scan(row, &merged, &platform, &values[0], &values[1], &values[2]); err != nil {
				return err
			}
			s.recent.addToYoung(merged, platform, values[:]...)
		}
		if full = len(rows) == f.generationSize; full {
			s.retireYoung(merged)
		}
		for s.runs.retiring() || s.runs.busy() && len(s.runs.ids) > f.maxRunsAtOpening {
			if err := s.mergeAtOpening(f); err != nil {
				return err
			}
		}
	}
	s.recent.commit()
	return nil
}

func (s *session) mergeAtOpening(f *file) error {
	if _, err := s.begin.exec(); err != nil {
		return err
	}
	s.changedRuns = s.runs.clone()
	s.changedRuns.due = 1000 * f.chunkEntries
	if err := s.mergeRuns(s.changedRuns); err != nil {
		return err
	}
	next := f.nextMark(s.recent.newest)
	if err := s.exec(setMarkSQL(next)); err != nil {
		return err
	}
	if _, err := s.commit.exec(); err != nil {
		return err
	}
	f.mark = next
	s.committed()
	_, err := s.checkpoint("PASSIVE")
	return err
}

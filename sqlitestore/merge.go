package sqlitestore

import "database/sql/driver"

func (s *session) loadRecent(f *file) error {
	newest, err := s.newestEvent()
	if err != nil {
		return err
	}
	s.recent = newRecentIndex(f.tuning, newest)
	rows, err := s.query(`SELECT seq, platform, name, coalesce(reference, ''), coalesce(customer_id, ''), coalesce(customer_reference, '')
		FROM events JOIN platforms ON platforms.id = platform WHERE seq > (SELECT merged.seq FROM merged) ORDER BY seq`)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var e recentEvent
		if err := scan(row, &e.seq, &e.platformID, &e.platform, &e.values[0], &e.values[1], &e.values[2]); err != nil {
			return err
		}
		s.recent.young.add(e)
	}
	if len(rows) >= 2*f.generationSize {
		return s.mergeAll(f)
	}
	s.recent.commit()
	return nil
}

// mergeAll bounds the events that opening reads, even if the store is often opened and stores
// little.
func (s *session) mergeAll(f *file) error {
	events := s.recent.young.events
	if _, err := s.begin.exec(); err != nil {
		return err
	}
	if err := s.mergeEntries(sortedEntries(events)); err != nil {
		return err
	}
	if _, err := s.setMerged.exec(events[len(events)-1].seq); err != nil {
		return err
	}
	if err := s.exec(setMarkSQL(f.nextMark(s.recent.newest))); err != nil {
		return err
	}
	if _, err := s.commit.exec(); err != nil {
		return err
	}
	s.recent = newRecentIndex(f.tuning, s.recent.newest)
	return nil
}

func (s *session) mergeEntries(list []entry) error {
	return s.insertEntries.insert(len(list), func(i int, set func(...driver.Value)) {
		e := &list[i]
		if e.kind == byReference {
			s.filters.merged(mergedReference{e.platformID, e.value})
		}
		set(int64(e.kind), e.platformID, e.value, e.seq)
	})
}

package sqlitestore

import (
	"database/sql/driver"

	"example.com/chargeingest/internal/groupcommit"
)

// referencesAtOnce is how many references a statement looks for.
const prefetchSize = 16

// ahead is what was found out about the references of a transaction before they
// are asked for one by one. Nearly all are new.
type prefetched struct {
	absent map[reference]bool // what the table lookup does not have

	platform string // of those that are to be asked for
	values   []string
}

// lookAhead finds out which references of the batches the table lookup has.
func (s *session) prefetch(group []*groupcommit.Request) error {
	s.prefetched.values = s.prefetched.values[:0]
	for _, r := range group {
		if s.prefetched.platform != r.Batch.Platform {
			s.prefetched.platform, s.prefetched.values = r.Batch.Platform, s.prefetched.values[:0]
		}
		for i := range r.Batch.Events {
			if value := r.Batch.Events[i].Reference; value != "" {
				s.prefetched.values = append(s.prefetched.values, value)
			}
			if len(s.prefetched.values) == prefetchSize {
				if err := s.queryPrefetch(); err != nil {
					return err
				}
			}
		}
	}
	return nil // the last ones are too few to be worth it
}

// askAhead asks for the references that were gathered.
func (s *session) queryPrefetch() error {
	platform, err := s.platformID(s.prefetched.platform)
	if err != nil {
		return err
	}
	arguments := []driver.Value{platform}
	for _, value := range s.prefetched.values {
		arguments = append(arguments, value)
		s.prefetched.absent[reference{s.prefetched.platform, value}] = true
	}
	s.prefetched.values = s.prefetched.values[:0]
	rows, err := s.findReferences.query(arguments...)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var value string
		if err := scan(row, &value); err != nil {
			return err
		}
		delete(s.prefetched.absent, reference{s.prefetched.platform, value})
	}
	return nil
}

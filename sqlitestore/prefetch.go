package sqlitestore

import (
	"database/sql/driver"

	"example.com/chargeingest/internal/groupcommit"
)

const prefetchSize = 16

type prefetched struct {
	absent map[reference]bool // not in the table lookup

	platform string // to query
	values   []string
}

func (s *session) prefetch(group []*groupcommit.Request) error {
	s.prefetched.values = s.prefetched.values[:0]
	for _, r := range group {
		if s.prefetched.platform != r.Platform {
			s.prefetched.platform, s.prefetched.values = r.Platform, s.prefetched.values[:0]
		}
		for i := range r.Events {
			if value := r.Events[i].Reference; value != "" {
				s.prefetched.values = append(s.prefetched.values, value)
			}
			if len(s.prefetched.values) == prefetchSize {
				if err := s.queryPrefetch(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *session) queryPrefetch() error {
	platformID, err := s.platformID(s.prefetched.platform)
	if err != nil {
		return err
	}
	arguments := []driver.Value{platformID}
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

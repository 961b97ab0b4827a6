package sqlitestore

import (
	"database/sql/driver"

	"example.com/chargeingest/internal/groupcommit"
)

// referencesAtOnce is how many references a statement looks for.
const referencesAtOnce = 16

// ahead is what was found out about the references of a transaction before they
// are asked for one by one. Nearly all are new.
type ahead struct {
	absent map[reference]bool // what the table lookup does not have

	platform string // of those that are to be asked for
	values   []string
}

// lookAhead finds out which references of the batches the table lookup has.
func (s *session) lookAhead(group []*groupcommit.Request) error {
	s.ahead.values = s.ahead.values[:0]
	for _, r := range group {
		if s.ahead.platform != r.Batch.Platform {
			s.ahead.platform, s.ahead.values = r.Batch.Platform, s.ahead.values[:0]
		}
		for i := range r.Batch.Events {
			if value := r.Batch.Events[i].Reference; value != "" {
				s.ahead.values = append(s.ahead.values, value)
			}
			if len(s.ahead.values) == referencesAtOnce {
				if err := s.askAhead(); err != nil {
					return err
				}
			}
		}
	}
	return nil // the last ones are too few to be worth it
}

// askAhead asks for the references that were gathered.
func (s *session) askAhead() error {
	platform, err := s.platform(s.ahead.platform)
	if err != nil {
		return err
	}
	arguments := []driver.Value{platform}
	for _, value := range s.ahead.values {
		arguments = append(arguments, value)
		s.ahead.absent[reference{s.ahead.platform, value}] = true
	}
	s.ahead.values = s.ahead.values[:0]
	rows, err := s.findReferences.query(arguments...)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var value string
		if err := scan(row, &value); err != nil {
			return err
		}
		delete(s.ahead.absent, reference{s.ahead.platform, value})
	}
	return nil
}

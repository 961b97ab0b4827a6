package sqlitestore

import (
	"context"
	"database/sql/driver"
	"strings"
)

const bulkRows = 8

type bulk struct {
	columns   int
	one, many statement
	arguments []driver.NamedValue
}

func (s *statements) prepareBulk(c conn, columns int, begin string) (b bulk, err error) {
	b.columns = columns
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	if b.one, err = s.prepared(c, begin+row); err != nil {
		return b, err
	}
	b.many, err = s.prepared(c, begin+row+strings.Repeat(", "+row, bulkRows-1))
	return b, err
}

func (b *bulk) insert(n int, row func(i int, set func(...driver.Value))) error {
	set := b.set
	for i := 0; i < n; {
		statement, rows := b.many, bulkRows
		if n-i < bulkRows {
			statement, rows = b.one, 1
		}
		b.arguments = b.arguments[:0]
		for range rows {
			row(i, set)
			i++
		}
		if _, err := statement.ExecContext(context.Background(), b.arguments); err != nil {
			return err
		}
	}
	return nil
}

func (b *bulk) set(values ...driver.Value) {
	for _, v := range values {
		b.arguments = append(b.arguments, driver.NamedValue{Ordinal: len(b.arguments) + 1, Value: v})
	}
}

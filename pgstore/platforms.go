package pgstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest/relay"
)

var _ relay.PlatformLister = (*Store)(nil)

// escapeName returns UTF-8 without zero bytes, for the database.
func escapeName(name string) string {
	if utf8.ValidString(name) && !strings.ContainsAny(name, "\x00\\") {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c == 0 || c == '\\' || c >= utf8.RuneSelf {
			fmt.Fprintf(&b, "\\%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescapeName(escaped string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(escaped, `\`)
		b.WriteString(before)
		if !found || len(after) < 2 {
			return b.String()
		}
		c, _ := hex.DecodeString(after[:2])
		b.Write(c)
		escaped = after[2:]
	}
}

// Platforms implements [relay.PlatformLister]. It includes platforms whose events were pruned.
func (s *Store) Platforms(ctx context.Context, after string, limit int) (names []string, err error) {
	err = s.read(ctx, "", false, func(ctx context.Context, tx pgx.Tx) error {
		// Escaped names have another order.
		names = nil
		err := eachName(ctx, tx, s.sql.relay.escapedPlatforms, func(name string) {
			if name = unescapeName(name); name > after {
				names = append(names, name)
			}
		})
		if err != nil {
			return err
		}
		last := validPrefix(after)
		for plain, found := 0, limit; plain < limit && found == limit; {
			found = 0
			err := eachName(ctx, tx, s.sql.relay.platforms, func(name string) {
				found++
				if last = name; name > after {
					plain++
					names = append(names, name)
				}
			}, last, limit)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names[:min(len(names), limit)], nil
}

func validPrefix(name string) string {
	name, _, _ = strings.Cut(name, "\x00")
	for i, r := range name {
		if _, size := utf8.DecodeRuneInString(name[i:]); r == utf8.RuneError && size < 2 {
			return name[:i]
		}
	}
	return name
}

func eachName(ctx context.Context, tx pgx.Tx, statement string, f func(string), arguments ...any) error {
	rows, err := tx.Query(ctx, statement, arguments...)
	if err != nil {
		return err
	}
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error { f(name); return nil })
	return err
}

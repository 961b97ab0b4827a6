package inspector

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// texts is a list of texts, each after its length in two bytes, or masked.
type texts string

const masked = 1<<16 - 1

func (t *texts) next() string {
	n := int((*t)[0]) | int((*t)[1])<<8
	*t = (*t)[2:]
	if n == masked {
		return mask
	}
	text := string((*t)[:n])
	*t = (*t)[n:]
	return text
}

// cut returns the next n pairs.
func (t *texts) cut(n int) texts {
	all := *t
	for range 2 * n {
		t.next()
	}
	return all[:len(all)-len(*t)]
}

func (t *texts) violations(violations []chargeingest.Violation) []chargeingest.Violation {
	if len(violations) == 0 {
		return nil
	}
	kept := make([]chargeingest.Violation, len(violations))
	for i, v := range violations {
		kept[i] = chargeingest.Violation{Code: v.Code, Field: t.next(), Message: t.next()}
	}
	return kept
}

func (t texts) pairs() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := t; rest != ""; {
			if name := rest.next(); !yield(name, rest.next()) {
				return
			}
		}
	}
}

func (t texts) value(name string) string {
	for n, value := range t.pairs() {
		if strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}

func (t texts) sorted() [][2]string {
	list := [][2]string{}
	for name, value := range t.pairs() {
		list = append(list, [2]string{name, value})
	}
	slices.SortStableFunc(list, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	return list
}

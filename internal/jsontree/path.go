package jsontree

import (
	"cmp"
	"strings"
)

// JoinPath returns a dotted path; parent is empty at the top.
func JoinPath(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// ComparePaths orders list indexes as numbers, before names.
func ComparePaths(a, b string) int {
	for moreA, moreB := true, true; moreA && moreB; {
		var partA, partB string
		partA, a, moreA = strings.Cut(a, ".")
		partB, b, moreB = strings.Cut(b, ".")
		if c := compareParts(partA, partB); c != 0 {
			return c
		}
		if moreA != moreB {
			if moreB {
				return -1
			}
			return 1
		}
	}
	return 0
}

func compareParts(a, b string) int {
	switch indexA, indexB := isIndex(a), isIndex(b); {
	case indexA && indexB:
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case indexA:
		return -1
	case indexB:
		return 1
	}
	return cmp.Compare(a, b)
}

func isIndex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (len(s) == 1 || s[0] != '0')
}

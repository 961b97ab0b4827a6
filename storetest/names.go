package storetest

import (
	"regexp"
	"slices"
	"strings"
)

// names returns names that a store may confuse.
func names() []string {
	long, wide := strings.Repeat("x", 255), strings.Repeat("🧾", 255)
	return []string{
		"ab", "AB", "a", "ab ", " ab", "a b", "a  b", "ab\u00a0", "a\u00adb", "a\u200bb",
		"a_b", "a-b", "a_", "_b", "a%", "%", "a%20b", "a+b", `a\b`, "'ab'", "ab|cd", "a:b", "0", "00", "1", "１",
		"null", "äb", "a\u0308b", "Äb", "ÄB", "🧾", "😀", "fi", "ﬁ", "ss", "ß", "i", "ı",
		long[:64], long[:65], long, long + "a", long + "b", wide[:len(wide)-4], wide, wide + "a", wide + "b",
	}
}

func references() []string {
	legal := regexp.MustCompile(`^[a-zA-Z0-9_\-]*$`)
	return slices.DeleteFunc(names(), func(name string) bool { return !legal.MatchString(name) })
}

func keys() []string {
	legal := regexp.MustCompile(`^[!-~]{1,255}$`)
	return slices.DeleteFunc(names(), func(name string) bool { return !legal.MatchString(name) })
}

// separators are characters with which a store may join two names.
func separators() []string { return strings.Split("_-:#/|.,;+~", "") }

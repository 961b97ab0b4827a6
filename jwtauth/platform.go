package jwtauth

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPlatform bounds the name of a platform, in characters.
const maxPlatform = 256

// platformRule is what isPlatform accepts, for messages.
const platformRule = "1 to 256 visible characters, with single spaces between them"

// isPlatform reports whether a name can be that of a platform: see
// [Config.PlatformsClaim].
func isPlatform(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= maxPlatform &&
		!strings.ContainsFunc(name, isInvisible) &&
		!strings.HasPrefix(name, " ") && !strings.HasSuffix(name, " ") && !strings.Contains(name, "  ")
}

// blanks are the symbols and letters without ink that Unicode does not count among
// the ignorable ones: of Braille, Egyptian, Khitan and musical notation.
var blanks = []rune{'\u2800', '\U00013441', '\U00013442', '\U00016fe4', '\U0001d159'}

// isInvisible reports whether r may leave no trace on a screen. U+FFFD is among
// these runes: a decoder puts it for anything that is not a character, which makes
// different names the same.
func isInvisible(r rune) bool {
	return !unicode.IsPrint(r) || r == utf8.RuneError || slices.Contains(blanks, r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

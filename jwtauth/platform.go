package jwtauth

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxPlatformChars = 256

const platformRule = "1 to 256 visible characters, with single spaces between them"

func isPlatformName(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= maxPlatformChars &&
		!strings.ContainsFunc(name, isInvisible) &&
		!strings.HasPrefix(name, " ") && !strings.HasSuffix(name, " ") && !strings.Contains(name, "  ")
}

// blanks are invisible characters that Unicode counts as symbols or letters.
var blanks = []rune{'\u2800', '\U00013441', '\U00013442', '\U00016fe4', '\U0001d159'}

// isInvisible includes U+FFFD, with which decoders replace different invalid bytes.
func isInvisible(r rune) bool {
	return !unicode.IsPrint(r) || r == utf8.RuneError || slices.Contains(blanks, r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

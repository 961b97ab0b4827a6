// Package rfc3339 parses the timestamps that the contract allows.
package rfc3339

import "time"

// Parse returns the instant of an RFC 3339 date-time in UTC. It accepts the years 0001 to
// 9999, T and Z in either case, and up to nine fraction digits, but no leap seconds,
// no days that do not exist, and unlike [time.Parse] no comma.
func Parse(s string) (time.Time, bool) {
	const shape = "0000-00-00T00:00:00"
	if len(s) < len(shape)+1 {
		return time.Time{}, false
	}
	for i := range len(shape) {
		switch shape[i] {
		case '0':
			if !isDigit(s[i]) {
				return time.Time{}, false
			}
		case 'T':
			if s[i] != 'T' && s[i] != 't' {
				return time.Time{}, false
			}
		default:
			if s[i] != shape[i] {
				return time.Time{}, false
			}
		}
	}
	year := number(s[0:4])
	month, day := number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	nanos, rest, ok := parseFraction(s[len(shape):])
	if !ok || year == 0 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day { // time.Date moves 30 February into March
		return time.Time{}, false
	}
	return t.Add(-offset), true
}

func parseFraction(s string) (nanos int, rest string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	n := 1
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	digits := s[1:n]
	if len(digits) < 1 || len(digits) > 9 {
		return 0, "", false
	}
	nanos = number(digits)
	for range 9 - len(digits) {
		nanos *= 10
	}
	return nanos, s[n:], true
}

func parseOffset(s string) (time.Duration, bool) {
	if s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != len("+00:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' ||
		!isDigit(s[1]) || !isDigit(s[2]) || !isDigit(s[4]) || !isDigit(s[5]) {
		return 0, false
	}
	hours, minutes := number(s[1:3]), number(s[4:6])
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func number(digits string) int {
	n := 0
	for i := range len(digits) {
		n = 10*n + int(digits[i]-'0')
	}
	return n
}

package growth

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// SelfTests are cases of known growth that test the measure itself. A name ends
// in "/steps" or "/bytes" if these grow faster than linear, else in "/linear".
func SelfTests() []Case {
	of := func(name string, work func(n int)) Case {
		return Case{name, 4 << 10, func(n int) attack { return attack{work: func() { work(n) }} }}
	}
	text := func(n int) string { return strings.Repeat("abcdefgh", n/8) }
	var kept []byte
	return []Case{
		of("slices.Contains/steps", func(n int) {
			var list []int
			for i := range n {
				if !slices.Contains(list, i) {
					list = append(list, i)
				}
			}
		}),
		of("slices.Insert in front/steps", func(n int) {
			list := make([]int, 0, n)
			for i := range n {
				list = slices.Insert(list, 0, i)
			}
		}),
		of("slices.Delete in front/steps", func(n int) {
			list := make([]int, n)
			for range n {
				list = slices.Delete(list, 0, 1)
			}
		}),
		of("copy in front/steps", func(n int) {
			list := make([]int, n)
			for range n {
				copy(list[1:], list)
			}
		}),
		of("strings.ReplaceAll without a match/steps", func(n int) {
			s := text(n)
			for range n {
				s = strings.ReplaceAll(s, "nothing", "")
			}
		}),
		of("strings.Contains/steps", func(n int) {
			s := text(n)
			for range n {
				_ = strings.Contains(s, "z")
			}
		}),
		of("strings.Cut/steps", func(n int) {
			s := text(n)
			for range n {
				_, _, _ = strings.Cut(s, "zz")
			}
		}),
		of("bytes.IndexByte/steps", func(n int) {
			s := []byte(text(n))
			for range n {
				_ = bytes.IndexByte(s, 'z')
			}
		}),
		of("a loop in a loop/steps", func(n int) {
			sum := 0
			for i := range n {
				for j := range n {
					sum += i ^ j
				}
			}
			kept = strconv.AppendInt(kept[:0], int64(sum), 10)
		}),
		of("a string that is added to/bytes", func(n int) {
			s := ""
			for range n {
				s += "x"
			}
			kept = append(kept[:0], s...)
		}),
		of("a copy of all for each byte/bytes", func(n int) {
			for range n {
				kept = make([]byte, n)
			}
		}),
		of("bytes.Buffer/linear", func(n int) {
			var b bytes.Buffer
			for range n {
				b.WriteByte('x')
			}
		}),
		of("slices.Sort/linear", func(n int) {
			list := make([]int, n)
			for i := range list {
				list[i] = i * 7919 % n
			}
			slices.SortFunc(list, cmp.Compare[int])
		}),
		of("strings.Split and Join/linear", func(n int) {
			kept = append(kept[:0], strings.Join(strings.Split(text(n), "d"), "e")...)
		}),
	}
}

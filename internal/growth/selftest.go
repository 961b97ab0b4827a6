package growth

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// SelfTests returns cases of known growth, which the end of the name states.
func SelfTests() []Case {
	newCase := func(name string, work func(n int)) Case {
		return Case{name, 4 << 10, func(n int) attack { return attack{work: func() { work(n) }} }}
	}
	text := func(n int) string { return strings.Repeat("abcdefgh", n/8) }
	var kept []byte
	return []Case{
		newCase("slices.Contains/steps", func(n int) {
			var list []int
			for i := range n {
				if !slices.Contains(list, i) {
					list = append(list, i)
				}
			}
		}),
		newCase("slices.Insert in front/steps", func(n int) {
			list := make([]int, 0, n)
			for i := range n {
				list = slices.Insert(list, 0, i)
			}
		}),
		newCase("slices.Delete in front/steps", func(n int) {
			list := make([]int, n)
			for range n {
				list = slices.Delete(list, 0, 1)
			}
		}),
		newCase("copy in front/steps", func(n int) {
			list := make([]int, n)
			for range n {
				copy(list[1:], list)
			}
		}),
		newCase("strings.ReplaceAll without a match/steps", func(n int) {
			s := text(n)
			for range n {
				s = strings.ReplaceAll(s, "nothing", "")
			}
		}),
		newCase("strings.Contains/steps", func(n int) {
			s := text(n)
			for range n {
				_ = strings.Contains(s, "z")
			}
		}),
		newCase("strings.Cut/steps", func(n int) {
			s := text(n)
			for range n {
				_, _, _ = strings.Cut(s, "zz")
			}
		}),
		newCase("bytes.IndexByte/steps", func(n int) {
			s := []byte(text(n))
			for range n {
				_ = bytes.IndexByte(s, 'z')
			}
		}),
		newCase("nested loops/steps", func(n int) {
			sum := 0
			for i := range n {
				for j := range n {
					sum += i ^ j
				}
			}
			kept = strconv.AppendInt(kept[:0], int64(sum), 10)
		}),
		newCase("concatenation in a loop/bytes", func(n int) {
			s := ""
			for range n {
				s += "x"
			}
			kept = append(kept[:0], s...)
		}),
		newCase("a copy for each byte/bytes", func(n int) {
			for range n {
				kept = make([]byte, n)
			}
		}),
		newCase("bytes.Buffer/linear", func(n int) {
			var b bytes.Buffer
			for range n {
				b.WriteByte('x')
			}
		}),
		newCase("slices.Sort/linear", func(n int) {
			list := make([]int, n)
			for i := range list {
				list[i] = i * 7919 % n
			}
			slices.SortFunc(list, cmp.Compare[int])
		}),
		newCase("strings.Split and Join/linear", func(n int) {
			kept = append(kept[:0], strings.Join(strings.Split(text(n), "d"), "e")...)
		}),
	}
}

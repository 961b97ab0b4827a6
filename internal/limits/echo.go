package limits

// MaxEchoedChars bounds a client's text in responses and logs.
const MaxEchoedChars = 128

// MaxExcessBytes bounds by how much the stored events that a batch repeats exceed the sent
// ones.
const MaxExcessBytes = 16 << 20

// Shorten cuts a text to MaxEchoedChars characters, without reading further.
func Shorten(s string) string {
	n, last := 0, 0
	for i := range s {
		if n++; n == MaxEchoedChars {
			last = i
		} else if n > MaxEchoedChars {
			return s[:last] + "…"
		}
	}
	return s
}

package growth

import (
	"bytes"
	"fmt"
)

// Wire returns the requests of a case in HTTP/1.1, with one more header: those
// sent before the attack, and the attack. Cases of Handler.Ingest have none.
func (c Case) Wire(n int, name, value string) (before, requests [][]byte) {
	a := c.attack(n)
	return wire(a.before, name, value), wire(a.calls, name, value)
}

func wire(calls []call, name, value string) [][]byte {
	var list [][]byte
	for i := range calls {
		c := &calls[i]
		if c.direct != nil {
			continue
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: %d\r\n", c.method, c.target, name, value, len(c.body))
		// Writing to memory does not fail.
		_ = c.header.Write(&b)
		b.WriteString("\r\n")
		b.Write(c.body)
		list = append(list, b.Bytes())
	}
	return list
}

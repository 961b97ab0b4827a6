package growth

import (
	"bytes"
	"fmt"
)

// Wire returns HTTP/1.1 requests with an additional header.
func (c Case) Wire(n int, name, value string) (setup, requests [][]byte) {
	a := c.attack(n)
	return wire(a.setup, name, value), wire(a.calls, name, value)
}

func wire(calls []call, name, value string) [][]byte {
	var list [][]byte
	for i := range calls {
		c := &calls[i]
		if c.ingest != nil {
			continue
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: %d\r\n", c.method, c.target, name, value, len(c.body))
		_ = c.header.Write(&b)
		b.WriteString("\r\n")
		b.Write(c.body)
		list = append(list, b.Bytes())
	}
	return list
}

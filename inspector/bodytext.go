package inspector

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"
)

type bodyText struct {
	Text      string `json:"text"`
	Pretty    string `json:"pretty"`
	Bytes     int64  `json:"bytes"`
	Truncated bool   `json:"truncated"`
	Encoding  string `json:"encoding"`
}

func newBodyText(body []byte, truncated bool, lines fieldLines) bodyText {
	b := bodyText{Pretty: pretty(body, lines), Bytes: int64(len(body)), Truncated: truncated}
	if truncated {
		body = trimPartialRune(body)
	}
	if b.Text = string(body); !utf8.Valid(body) {
		b.Text, b.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	return b
}

func trimPartialRune(text []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return text[:len(text)-n]
			}
			break
		}
	}
	return text
}

type sentBody struct {
	text      []byte
	truncated bool
	gzipped   bool
}

func decodedBody(r *record, limit int) sentBody {
	plain := sentBody{text: r.body, truncated: r.bodyTruncated}
	if !isGzip(r) || len(r.body) == 0 {
		return plain
	}
	z, err := gzip.NewReader(bytes.NewReader(r.body))
	if err != nil {
		return plain
	}
	text, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	truncated := err != nil || len(text) > limit
	return sentBody{text[:min(limit, len(text))], truncated, true}
}

func isGzip(r *record) bool {
	return strings.EqualFold(strings.TrimSpace(r.header.value("Content-Encoding")), "gzip")
}

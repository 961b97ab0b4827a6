package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxLineBytes  = 4 << 20 // the server's default limit for a body
	keptLineBytes = 1 << 10 // of a longer line
)

var errLineTooLong = fmt.Errorf("the line is longer than %d bytes", maxLineBytes)

type line struct {
	number  int    // from 1
	text    []byte // without surrounding white space
	invalid error  // unless the line is one JSON value

	offset, size int64 // with white space
}

type lineReader struct {
	buf    *bufio.Reader
	number int
	offset int64
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{buf: bufio.NewReaderSize(r, 64<<10)}
}

func (r *lineReader) next() (line, error) {
	for {
		text, size, err := r.read()
		if err != nil && !errors.Is(err, io.EOF) {
			return line{}, fmt.Errorf("after line %d: %w", r.number, err)
		}
		if size == 0 {
			return line{}, io.EOF
		}
		r.number++
		l := line{number: r.number, text: bytes.Trim(text, " \t\r\n"), offset: r.offset, size: size}
		r.offset += size
		switch {
		case size > maxLineBytes:
			l.invalid = errLineTooLong
		case len(l.text) == 0:
			continue
		default:
			l.invalid = checkLine(l.text)
		}
		return l, nil
	}
}

func (r *lineReader) read() (text []byte, size int64, err error) {
	for {
		part, err := r.buf.ReadSlice('\n')
		size += int64(len(part))
		if size <= maxLineBytes {
			text = append(text, part...)
		} else {
			text = text[:min(len(text), keptLineBytes)]
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, size, err
		}
	}
}

// checkLine finds what the server would reject without naming the event.
func checkLine(line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("\x1f\x8b")):
		return errors.New("the line begins like a gzip file: decompress the file first")
	case bytes.HasPrefix(line, []byte("\ufeff")):
		return errors.New("the line begins with a byte-order mark: remove it")
	}
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if _, err := d.ReadValue(); err != nil {
		return lineSyntaxError(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("the line has more than one JSON value")
	}
	return nil
}

func lineSyntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case !errors.As(err, &syntax):
		return fmt.Errorf("the line is not valid JSON: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the line ends too early (byte %d)", syntax.ByteOffset)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("the line has two fields with the name %q", syntax.JSONPointer.LastToken())
	}
	return fmt.Errorf("the line is not valid JSON: %w (byte %d)", syntax.Err, syntax.ByteOffset)
}

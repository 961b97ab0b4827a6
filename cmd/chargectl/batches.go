package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	batchField = "charge_datas"

	// maxLineBytes is the server's default limit for a body.
	maxLineBytes = 4 << 20

	// maxBatchBytes limits batches of more than one event.
	maxBatchBytes = 3 << 20
)

type batch struct {
	lines          []int // line numbers of the events, from 1
	unreferenced   []int // the lines whose events have no reference
	idempotencyKey string
	body           []byte
}

func (b *batch) span(file string) string {
	first, last := b.lines[0], b.lines[len(b.lines)-1]
	if first == last {
		return fmt.Sprintf("%s:%d", file, first)
	}
	return fmt.Sprintf("%s: lines %d to %d", file, first, last)
}

// batchReader splits equal files into equal batches.
type batchReader struct {
	scanner   *bufio.Scanner
	maxEvents int
	loadID    string

	line    int
	event   int
	pending []byte // the last line read, if it did not fit
}

func newBatchReader(r io.Reader, maxEvents int, loadID string) *batchReader {
	b := &batchReader{scanner: bufio.NewScanner(r), maxEvents: maxEvents, loadID: loadID}
	b.scanner.Buffer(make([]byte, 64<<10), maxLineBytes)
	return b
}

type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// next returns io.EOF after the last batch. A *lineError drops the batch, because its lines
// could be in different batches once the file is corrected.
func (r *batchReader) next() (*batch, error) {
	b := &batch{body: []byte(`{"` + batchField + `":[`)}
	for len(b.lines) < r.maxEvents {
		line := r.pending
		if r.pending = nil; line == nil {
			var err error
			if line, err = r.nextLine(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
		}
		if len(b.lines) > 0 {
			if len(b.body)+len(line) > maxBatchBytes {
				r.pending = line
				break
			}
			b.body = append(b.body, ',')
		} else {
			b.idempotencyKey = r.idempotencyKey(line)
		}
		b.lines = append(b.lines, r.line)
		if !hasReference(line) {
			b.unreferenced = append(b.unreferenced, r.line)
		}
		b.body = append(b.body, line...)
	}
	if len(b.lines) == 0 {
		return nil, io.EOF
	}
	b.body = append(b.body, "]}"...)
	return b, nil
}

// idempotencyKey derives the key of a batch from its first event and the number of that event,
// which tells equal lines apart. If other lines or the batch size change, the key must
// conflict: otherwise the server would store events without a reference twice.
func (r *batchReader) idempotencyKey(line []byte) string {
	event := jsontext.Value(bytes.Clone(line))
	_ = event.Canonicalize() // leaves the event unchanged if it fails
	hash := sha256.New()
	hash.Write(fmt.Appendf(nil, "chargeingest load %q, from event %d\n", r.loadID, r.event))
	hash.Write(event)
	return "load-" + hex.EncodeToString(hash.Sum(nil))
}

func hasReference(line []byte) bool {
	var event struct {
		Reference string `json:"reference"`
	}
	return json.Unmarshal(line, &event) == nil && event.Reference != ""
}

// nextLine skips blank lines. The line is valid until the next call.
func (r *batchReader) nextLine() ([]byte, error) {
	for r.scanner.Scan() {
		r.line++
		line := bytes.Trim(r.scanner.Bytes(), " \t\r")
		if len(line) == 0 {
			continue
		}
		if err := checkLine(line); err != nil {
			return nil, &lineError{r.line, err}
		}
		r.event++
		return line, nil
	}
	err := r.scanner.Err()
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, &lineError{r.line + 1, fmt.Errorf("the line is longer than %d bytes", maxLineBytes)}
	case err != nil:
		return nil, fmt.Errorf("after line %d: %w", r.line, err)
	}
	return nil, io.EOF
}

// checkLine requires one JSON value, so that a line is one event. It rejects duplicate names
// and invalid UTF-8, because the server's error for them does not name the event.
func checkLine(line []byte) error {
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

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
	// batchMember is the one member of a batch's body.
	batchMember = "charge_datas"

	// maxLineBytes is the default limit of the server for a body: what is
	// longer would not be taken.
	maxLineBytes = 4 << 20

	// maxBatchBytes bounds a batch of more than one event.
	maxBatchBytes = 3 << 20
)

// batch is some lines of a file, on their way as one request.
type batch struct {
	lines        []int  // the number of each event's line, from 1
	unreferenced []int  // of them, those of events without a reference
	key          string // the Idempotency-Key
	body         []byte
	size         int64 // bytes of the file since the batch before
}

// span names the lines of the batch.
func (b *batch) span(file string) string {
	first, last := b.lines[0], b.lines[len(b.lines)-1]
	if first == last {
		return fmt.Sprintf("%s:%d", file, first)
	}
	return fmt.Sprintf("%s: lines %d to %d", file, first, last)
}

// batchReader cuts a file into batches. Where it cuts depends on the file and
// the limits alone, so that the same file makes the same batches every time.
type batchReader struct {
	scanner   *bufio.Scanner
	maxEvents int
	loadID    string // part of the keys

	line    int    // number of the line that was read last
	event   int    // the same without blank lines
	read    int64  // bytes that were read
	counted int64  // of them, those in the size of a batch
	held    []byte // the line that was read last, where it had no room in its batch
}

func newBatchReader(r io.Reader, maxEvents int, loadID string) *batchReader {
	b := &batchReader{scanner: bufio.NewScanner(r), maxEvents: maxEvents, loadID: loadID}
	b.scanner.Buffer(make([]byte, 64<<10), maxLineBytes)
	b.scanner.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		n, line, err := bufio.ScanLines(data, atEOF)
		b.read += int64(n)
		return n, line, err
	})
	return b
}

// lineError is a line that cannot be sent.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// next returns the next batch, or io.EOF behind the last. Of a batch with a
// *lineError nothing is returned: the lines before it would be in another batch
// once the file is corrected.
func (r *batchReader) next() (*batch, error) {
	b := &batch{body: []byte(`{"` + batchMember + `":[`)}
	for len(b.lines) < r.maxEvents {
		line := r.held
		if r.held = nil; line == nil {
			var err error
			if line, err = r.nextLine(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
		}
		if len(b.lines) > 0 {
			if len(b.body)+len(line) > maxBatchBytes {
				r.held = line
				break
			}
			b.body = append(b.body, ',')
		} else {
			b.key = r.key(line)
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
	b.size, r.counted = r.read-r.counted, r.read
	return b, nil
}

// key returns the key of a batch that begins with the line that was read last.
//
// The other lines are not part of it: a batch that ends elsewhere, because of
// another -batch or because lines were added behind it, has the same key and
// other content, which the server refuses. With a key for each content it would
// store events without a reference a second time. The number of the event is part
// of it, because equal lines elsewhere in the file are other events. White space
// and the order of members are not, as the server does not compare them.
func (r *batchReader) key(line []byte) string {
	event := jsontext.Value(bytes.Clone(line))
	_ = event.Canonicalize() // it stays as it is if it has no canonical form
	hash := sha256.New()
	hash.Write(fmt.Appendf(nil, "chargeingest load %q, from event %d\n", r.loadID, r.event))
	hash.Write(event)
	return "load-" + hex.EncodeToString(hash.Sum(nil))
}

// hasReference reports whether an event has a reference, by which the server knows
// it if it is sent again.
func hasReference(line []byte) bool {
	var event struct {
		Reference string `json:"reference"`
	}
	return json.Unmarshal(line, &event) == nil && event.Reference != ""
}

// nextLine returns the next line that is not blank, without the white space
// around it. It stays valid until the next call.
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
		return nil, fmt.Errorf("behind line %d: %w", r.line, err)
	}
	return nil, io.EOF
}

// checkLine refuses what is not one JSON value, which could break out of its
// place in the batch, and what the server would refuse without a word on which
// event it is: names that are there twice, and what is not UTF-8.
func checkLine(line []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if _, err := d.ReadValue(); err != nil {
		return fmt.Errorf("the line is not valid JSON: %w", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("the line is more than one JSON value")
	}
	return nil
}

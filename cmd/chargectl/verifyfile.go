package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/schemacheck"
	"example.com/chargeingest/internal/userpath"
)

type lineStatus uint8

const (
	lineMissing lineStatus = iota
	lineStored
	lineDifferent
	lineInvalid
)

func (s lineStatus) String() string {
	return [...]string{"missing", "stored", "different", "invalid"}[s]
}

// With its index entries, a fileLine takes about 300 bytes.
type fileLine struct {
	offset  int64
	length  int
	number  int
	content digest
	next    int32 // earlier line with the same key, or -1
	untimed bool
	status  lineStatus
}

type eventFile struct {
	file    *os.File
	lines   []fileLine
	checker *schemacheck.Checker

	// by reference, or content without one; the last line
	index        map[digest]int32
	references   int
	unreferenced int

	contents map[digest]bool
	repeated int
	totals   totals // without repeated lines

	problems map[int32]problem
}

type problem struct {
	id     string
	fields []string
}

func openEventFile(path string) (*eventFile, error) {
	checker, err := schemacheck.New(schemacheck.Config{KeepUnknownFields: true, Gate: limits.NewGate(1)})
	if err != nil {
		return nil, err
	}
	if err := userpath.Check(path); err != nil {
		return nil, cli.Usagef("FILE %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, cli.Usagef("%w", userpath.Explain(path, err))
	}
	if !info.Mode().IsRegular() {
		return nil, cli.Usagef("FILE %s must be a regular file, because it is read twice", path)
	}
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, cli.Usagef("%w", err)
	}
	return &eventFile{
		file: file, checker: checker,
		index: make(map[digest]int32), contents: make(map[digest]bool), problems: make(map[int32]problem),
	}, nil
}

func (f *eventFile) read(ctx context.Context) error {
	lines := newLineReader(f.file)
	for {
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = f.add(ctx, l)
		}
		if err != nil {
			return err
		}
	}
}

func (f *eventFile) add(ctx context.Context, read line) error {
	l := fileLine{offset: read.offset, length: int(min(read.size, maxLineBytes)), number: read.number, next: -1}
	if read.invalid != nil {
		f.addInvalid(l, read.invalid.Error())
		return nil //nolint:nilerr // reported as a problem
	}
	e, err := decodeSent(read.text)
	if err == nil {
		err = f.addEvent(&e, &l)
	}
	if err != nil {
		return f.addRejected(ctx, l, read.text, err.Error())
	}
	f.lines = append(f.lines, l)
	return nil
}

func (f *eventFile) addRejected(ctx context.Context, l fileLine, text []byte, reason string) error {
	messages, err := f.violations(ctx, text)
	if err == nil && len(messages) == 0 {
		messages = []string{reason}
	}
	f.addInvalid(l, messages...)
	return err
}

func (f *eventFile) addInvalid(l fileLine, messages ...string) {
	l.status = lineInvalid
	f.problems[int32(len(f.lines))] = problem{fields: messages}
	f.lines = append(f.lines, l)
}

func (f *eventFile) addEvent(e *chargeingest.ChargeEvent, l *fileLine) (err error) {
	if l.content, _, err = contentDigests(*e); err != nil {
		return err
	}
	l.untimed = e.Timestamp == nil
	reference := *orZero(e.Reference)
	switch {
	case !isReference(reference):
		return errors.New("reference must be up to 256 letters A–Z and a–z, digits, underscores and hyphens")
	case reference == "":
		if err := f.totals.add(e); err != nil {
			return err
		}
		f.unreferenced++
		f.link(l.content, l)
		return nil
	case f.contents[l.content]:
		f.repeated++
	default:
		if err := f.totals.add(e); err != nil {
			return err
		}
		f.contents[l.content] = true
	}
	if f.link(referenceKey(reference), l) {
		f.references++
	}
	return nil
}

func (f *eventFile) link(key digest, l *fileLine) bool {
	first, ok := f.index[key]
	if ok {
		l.next = first
	}
	f.index[key] = int32(len(f.lines))
	return !ok
}

func referenceKey(reference string) digest { return newDigest([]byte("reference"), []byte(reference)) }

func isReference(text string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return len(text) <= 256 && strings.Trim(text, allowed) == ""
}

func (f *eventFile) violations(ctx context.Context, text []byte) ([]string, error) {
	err := f.checker.Check(ctx, text, false, time.Time{})
	var invalid *schemacheck.InvalidError
	var malformed *schemacheck.MalformedError
	var messages []string
	switch {
	case errors.As(err, &invalid):
		for _, v := range invalid.Violations {
			messages = append(messages, v.Message)
		}
	case errors.As(err, &malformed):
		messages = []string{malformed.Message}
	case err != nil:
		return nil, err
	}
	return messages, nil
}

var errFileChanged = errors.New("the file changed while it was verified")

func (f *eventFile) event(l *fileLine) (e chargeingest.ChargeEvent, text []byte, err error) {
	text = make([]byte, l.length)
	if _, err := f.file.ReadAt(text, l.offset); err != nil {
		return e, nil, err
	}
	text = bytes.Trim(text, " \t\r\n")
	e, err = decodeSent(text)
	if l.status == lineInvalid {
		return e, text, nil
	}
	if err != nil {
		return e, nil, errFileChanged
	}
	if content, _, err := contentDigests(e); err != nil || content != l.content {
		return e, nil, errFileChanged
	}
	return e, text, nil
}

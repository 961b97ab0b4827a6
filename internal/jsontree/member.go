package jsontree

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

var errNotObject = errors.New("the JSON text is not an object")

// Members calls f with each quoted name of an object. f reads the value.
func Members(d *jsontext.Decoder, f func(name jsontext.Value) error) error {
	if d.PeekKind() != '{' {
		return errNotObject
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

var errFound = errors.New("found")

// Find returns the offsets of a member's value, or zeros. It ignores the text after it.
func Find(object []byte, quotedName string) (start, end int, err error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true))
	err = Members(d, func(name jsontext.Value) error {
		if string(name) != quotedName {
			return d.SkipValue()
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		end = int(d.InputOffset())
		start = end - len(value)
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return start, end, err
}

package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Text accepts any value.
func Text(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		return nil
	}
}

// Secret accepts a value that can be sent in a header.
func Secret(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		if !IsVisibleASCII(value) {
			return errors.New("must be visible ASCII characters, without spaces")
		}
		return nil
	}
}

// IsVisibleASCII is false for an empty text.
func IsVisibleASCII(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Int accepts a number from low to high, which are not negative.
func Int(dst *int64, low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || int64(n) < low || int64(n) > high {
			return fmt.Errorf("must be a whole number from %d to %d, not %q", low, high, value)
		}
		*dst = int64(n)
		return nil
	}
}

// Choice is a value that [OneOf] accepts by name.
type Choice[T any] struct {
	Name  string
	Value T
}

// OneOf accepts the names of the choices.
func OneOf[T any](dst *T, choices ...Choice[T]) func(string) error {
	return func(value string) error {
		var names []string
		for _, c := range choices {
			if c.Name == value {
				*dst = c.Value
				return nil
			}
			names = append(names, c.Name)
		}
		return fmt.Errorf("must be %s, not %q", strings.Join(names, " or "), value)
	}
}

// Package userpath checks the file paths that people configure, and explains why
// they lead nowhere.
package userpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Check returns an error that quotes path if it has a control character. No one
// means such a path. Most often it was read from a mounted secret that ends in a
// line break, and would name a new, empty file.
func Check(path string) error {
	if strings.ContainsFunc(path, unicode.IsControl) {
		return fmt.Errorf("must not have control characters such as a line break, but is %q", path)
	}
	return nil
}

// Explain returns the error of using path. If that is fs.ErrNotExist because of a
// dangling symbolic link, the result names the link and is fs.ErrNotExist too.
func Explain(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	link, absErr := filepath.Abs(path)
	for absErr == nil {
		if target, linkErr := os.Readlink(link); linkErr == nil {
			if _, statErr := os.Stat(link); errors.Is(statErr, fs.ErrNotExist) {
				return &danglingError{link, target}
			}
		}
		parent := filepath.Dir(link)
		if parent == link {
			break
		}
		link = parent
	}
	return err
}

// danglingError reports a symbolic link whose target does not exist.
type danglingError struct{ link, target string }

func (e *danglingError) Error() string {
	return fmt.Sprintf("%q is a symbolic link to %q, which does not exist", e.link, e.target)
}

func (e *danglingError) Unwrap() error { return fs.ErrNotExist }

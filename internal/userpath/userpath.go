// Package userpath checks configured file paths.
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

// Check rejects a path with a control character, such as the line break of a secret
// file.
func Check(path string) error {
	if strings.ContainsFunc(path, unicode.IsControl) {
		return fmt.Errorf("must not have control characters such as a line break, but is %q", path)
	}
	return nil
}

// Explain returns the error of using path. If a symbolic link has no target, it
// names the link and wraps fs.ErrNotExist.
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

type danglingError struct{ link, target string }

func (e *danglingError) Error() string {
	return fmt.Sprintf("%q is a symbolic link to %q, which does not exist", e.link, e.target)
}

func (e *danglingError) Unwrap() error { return fs.ErrNotExist }

// ShellQuoted returns the path for a command line.
func ShellQuoted(path string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("/._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	if strings.ContainsFunc(path, special) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

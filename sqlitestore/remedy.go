package sqlitestore

import (
	"fmt"
	"strings"
	"unicode"
)

// walMismatch: the state file of an older copy must be moved away, too. If only the state file
// indicates the mismatch, it is uncertain.
func (f *file) walMismatch(suffix string, isCopy, uncertain bool) error {
	moveState := mvCommand(f.path + ".state")
	moveAway := mvCommand(f.path + suffix)
	if isCopy {
		moveAway += " && " + moveState
	}
	hint := ""
	if uncertain {
		hint = ". If both were put there together: " + moveState
	}
	return fmt.Errorf("%w: %s does not belong to %s, which was restored or replaced. To keep the database and drop the events of the log: %s. "+
		"To keep the events of the log, put back the database that it belongs to%s", ErrWALMismatch, shellQuoted(f.path+suffix), shellQuoted(f.path), moveAway, hint)
}

func (f *file) eventsMissing(newest, found int64) error {
	return fmt.Errorf("%w: number %d was acknowledged, and %s ends at %d. Most likely %s was deleted or damaged after a crash: put it back. "+
		"If this is an older copy, or to go on without these events: %s",
		ErrEventsMissing, newest, shellQuoted(f.path), found, shellQuoted(f.path+"-wal"), mvCommand(f.path+".state"))
}

func (f *file) databaseGone(newest int64) error {
	return fmt.Errorf("%w: %s is missing or empty, and had events up to number %d. Put it back, or start with a new one: %s",
		ErrEventsMissing, shellQuoted(f.path), newest, mvCommand(f.path+".state"))
}

func (f *file) hardLinked() error {
	path := shellQuoted(f.path)
	return fmt.Errorf("%w: %s has another name, a hard link, and was not closed there. Its write-ahead log is next to that name: find that with "+
		"find / -xdev -samefile %[2]s, and open it there. To go on without the events of the log: cp %[2]s %[2]s.copy && mv %[2]s.copy %[2]s", ErrEventsMissing, path)
}

func mvCommand(path string) string { return fmt.Sprintf("mv %s %[1]s.old", shellQuoted(path)) }

func shellQuoted(path string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("/._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	if strings.ContainsFunc(path, special) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

package sqlitestore

import (
	"fmt"

	"example.com/chargeingest/internal/userpath"
)

// walMismatch is uncertain if only the state file indicates it. If isCopy is set, the database
// is an older copy, and the state file must be moved away, too.
func (f *file) walMismatch(suffix string, isCopy, uncertain bool) error {
	moveState := mvCommand(f.path + ".state")
	moveAway := mvCommand(f.path + suffix)
	if isCopy {
		moveAway += " && " + moveState
	}
	hint := ""
	if uncertain {
		hint = ". If both files were put there together: " + moveState
	}
	return fmt.Errorf("%w: %s does not belong to %s, which was restored or replaced. To keep the database and drop the events in %[2]s: %[4]s. "+
		"To keep these events, restore the database that the file belongs to%[5]s", ErrWALMismatch, userpath.ShellQuoted(f.path+suffix), userpath.ShellQuoted(f.path), moveAway, hint)
}

func (f *file) eventsMissing(newest, found int64) error {
	return fmt.Errorf("%w: event number %d was acknowledged, but %s ends at number %d. Most likely %s was deleted or damaged after a crash: restore it. "+
		"If the database is an older copy, or to continue without these events: %s",
		ErrEventsMissing, newest, userpath.ShellQuoted(f.path), found, userpath.ShellQuoted(f.path+"-wal"), mvCommand(f.path+".state"))
}

func (f *file) databaseGone(newest int64) error {
	return fmt.Errorf("%w: %s is missing or empty, but had events up to number %d. Restore it, or start with a new database: %s",
		ErrEventsMissing, userpath.ShellQuoted(f.path), newest, mvCommand(f.path+".state"))
}

func (f *file) hardLinked() error {
	path := userpath.ShellQuoted(f.path)
	return fmt.Errorf("%w: %s has another name, a hard link, and was not closed under that name. The write-ahead log is next to the other name: find it with "+
		"find / -xdev -samefile %[2]s, and open the database there. To continue without the events in the write-ahead log: cp %[2]s %[2]s.copy && mv %[2]s.copy %[2]s", ErrEventsMissing, path)
}

func mvCommand(path string) string { return fmt.Sprintf("mv %s %[1]s.old", userpath.ShellQuoted(path)) }

package sqlitestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/chargeingest/internal/files"
	"example.com/chargeingest/internal/userpath"
)

func (f *file) checkUnrestored() error {
	marker := f.path + restoringSuffix
	if _, err := os.Lstat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	plan, err := readPlan(marker)
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	return fmt.Errorf("%w: %s exists. Run chargectl restore again. To return to the old database: mv %s/* %s && rm %[2]s",
		ErrRestoreUnfinished, userpath.ShellQuoted(marker), userpath.ShellQuoted(filepath.Join(dir, plan.Aside)), userpath.ShellQuoted(dir))
}

func readPlan(marker string) (plan restorePlan, err error) {
	text, err := os.ReadFile(marker) //nolint:gosec // next to the database
	if err != nil {
		return plan, err
	}
	err = json.Unmarshal(text, &plan)
	isName := func(name string) bool {
		return name != "" && name == filepath.Base(name) && !strings.HasPrefix(name, "..")
	}
	if err != nil || !isName(plan.Aside) || slices.ContainsFunc(plan.Moved, func(n string) bool { return !isName(n) }) {
		return plan, fmt.Errorf("%w: %s is damaged. Move the database and all files of its directory whose names begin with its name away, and restore again",
			ErrRestoreUnfinished, userpath.ShellQuoted(marker))
	}
	return plan, nil
}

// readMarker completes a restore of which only the marker was left.
func (r *restorer) readMarker() (unfinished bool, err error) {
	path := r.file.path
	marker := path + restoringSuffix
	if _, err := os.Lstat(marker); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if r.plan, err = readPlan(marker); err != nil {
		return false, err
	}
	old, err := os.Stat(r.aside(filepath.Base(path)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	hadDatabase := slices.Contains(r.plan.Moved, filepath.Base(path))
	if hasDatabase := r.file.info != nil; hasDatabase && (old != nil || !hadDatabase) {
		r.plan = restorePlan{}
		if err := os.Remove(marker); err != nil {
			return false, err
		}
		return false, files.SyncDir(path)
	}
	if r.file.info == nil {
		r.file.info = old // for the owner
	}
	return true, nil
}

// cancel removes the marker if no file was moved.
func (r *restorer) cancel() error {
	if r.plan.Aside == "" {
		return nil
	}
	if err := os.Remove(r.aside("")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // not empty
	}
	return errors.Join(os.Remove(r.file.path+restoringSuffix), files.SyncDir(r.file.path))
}

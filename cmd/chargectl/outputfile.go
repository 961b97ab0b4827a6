package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/files"
	"example.com/chargeingest/internal/userpath"
)

type outputFile struct {
	draft *os.File
	path  string
}

func createOutput(path string) (*outputFile, error) {
	if err := checkName(path); err != nil {
		return nil, cli.Usagef("-o %w", err)
	}
	if err := checkNew(path); err != nil {
		return nil, cli.Usagef("-o %w", err)
	}
	draft, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return nil, cli.Usagef("-o: %w", userpath.Explain(filepath.Dir(path), err))
	}
	return &outputFile{draft, path}, nil
}

func checkName(path string) error {
	if path == "-" {
		return errors.New(`must name a file, not "-"`)
	}
	return userpath.Check(path)
}

func checkNew(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = errors.New("the file exists; remove it or choose another name")
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (f *outputFile) Write(p []byte) (int, error) {
	n, err := f.draft.Write(p)
	return n, f.failure(err)
}

func (f *outputFile) failure(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	if err != nil {
		return fmt.Errorf("write %s: %w; the file was not created", f.path, err)
	}
	return nil
}

// commit makes the file durable. After an error there is no file.
func (f *outputFile) commit() error {
	if err := f.draft.Sync(); err != nil {
		return f.failure(err)
	}
	if err := f.draft.Close(); err != nil {
		return f.failure(err)
	}
	if err := checkNew(f.path); err != nil {
		return err
	}
	if err := os.Rename(f.draft.Name(), f.path); err != nil {
		return f.failure(err)
	}
	if err := files.SyncDir(f.path); err != nil {
		return errors.Join(f.failure(err), os.Remove(f.path)) // a power cut could remove it
	}
	return nil
}

func (f *outputFile) discard() {
	_ = f.draft.Close()
	_ = os.Remove(f.draft.Name())
}

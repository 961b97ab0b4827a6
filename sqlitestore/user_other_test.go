//go:build !unix

package sqlitestore

import "errors"

func becomeUser(int, int) error { return errors.New("not supported") }

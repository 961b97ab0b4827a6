//go:build unix

package sqlitestore

import "syscall"

func becomeUser(user, group int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(group); err != nil {
		return err
	}
	return syscall.Setuid(user)
}

//go:build unix

package sqlitestore

import "syscall"

// becomeUser takes the rights of root from this process.
func becomeUser(user, group int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(group); err != nil {
		return err
	}
	return syscall.Setuid(user)
}

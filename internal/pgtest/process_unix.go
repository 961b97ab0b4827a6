//go:build unix

package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
)

// ordinaryUser is who a server runs as where this process is root's, as a server
// refuses to be; nil where it is not.
func ordinaryUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		who, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUser := strconv.ParseUint(who.Uid, 10, 32)
		gid, errGroup := strconv.ParseUint(who.Gid, 10, 32)
		if errUser == nil && errGroup == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("this process is root's, and there is neither a user postgres nor nobody to run a server as")
}

// startTied starts a command in a process group of its own, which does not
// outlive this process where the system can see to that, and closes ended when
// it has ended.
func startTied(cmd *exec.Cmd, ended chan<- struct{}) error {
	cmd.SysProcAttr.Setpgid = true
	tie(cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		// The tie is one to the thread that starts the command.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended does not matter
			close(ended)
		}
	}()
	return <-started
}

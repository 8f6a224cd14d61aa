//go:build unix && !linux

package pool

import "syscall"

// quick reads from a socket, and writes to one, that does not block. On this system there is no cheaper way than package syscall's.
type quick struct{}

func newQuick() *quick { return new(quick) }

func (*quick) read(fd int, b []byte) (int, error) { return syscall.Read(fd, b) }

func (*quick) write(fd int, b []byte) (int, error) { return syscall.Write(fd, b) }

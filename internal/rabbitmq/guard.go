package rabbitmq

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guard is a shell that outlives us and clears up: it reads from a pipe that only we hold, which closes when we end, even
// if we are killed. It then ends the processes that it was told of, and removes the node's folder.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// guardScript removes folder $1, if there is one.
const guardScript = `
epmd= broker=
while read -r what pid; do
	case $what in epmd) epmd=$pid ;; broker) broker=$pid ;; esac
done
if [ -n "$broker" ]; then
	kill -TERM "$broker"
	kill -CONT "$broker"
	i=0
	while kill -0 "$broker" && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
	kill -KILL "$broker"
fi 2>/dev/null
if [ -n "$epmd" ]; then kill -KILL "$epmd"; fi 2>/dev/null
if [ -n "$1" ]; then
	sleep 0.2
	rm -rf "$1"
fi`

func startGuard(remove string) (*guard, error) {
	g := &guard{cmd: exec.Command("/bin/sh", "-c", guardScript, "guard", remove)}
	g.cmd.Dir = "/"
	// A group of its own: what ends us at the terminal must not end it.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if g.pipe, err = g.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("guard the node: %w", err)
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard the node: %w", err)
	}
	return g, nil
}

// watch tells the guard of a process that has started, or, with 0, that has ended. Should the guard be gone, there is
// nothing to be done about it: the node goes on without.
func (g *guard) watch(what string, pid int) {
	text := ""
	if pid != 0 {
		text = fmt.Sprint(pid)
	}
	_, _ = fmt.Fprintf(g.pipe, "%s %s\n", what, text)
}

// dismiss ends the guard when there is nothing left to clear up.
func (g *guard) dismiss() {
	_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	_ = g.pipe.Close()
	_ = g.cmd.Wait()
}

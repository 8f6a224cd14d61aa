// Package pipetest runs pipe as people do: as a process, on a real broker that it does not own.
package pipetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sourcegraph/conc"
	"go.uber.org/goleak"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// patience is how long a process may take for what is expected of it.
const patience = 90 * time.Second

// Main runs the tests of a package as [testbroker.Main] does, and removes what they built. Use it as
// func TestMain(m *testing.M) { os.Exit(pipetest.Main(m)) }.
func Main(m testbroker.Tests, options ...goleak.Option) int {
	dir, err := os.MkdirTemp("", "pipe-test-")
	if err != nil {
		panic(err)
	}
	built = dir
	defer os.RemoveAll(dir)
	return testbroker.Main(m, options...)
}

// built is the folder of what the tests build.
var built string

// Binary builds pipe, once, as it is released, and returns its path.
var Binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "pipe")
	out, err := exec.Command("go", "build", "-o", path, "github.com/pipeamqp/pipe/cmd/pipe").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build pipe: %w\n%s", err, out)
	}
	return path, nil
})

// Process is a pipe that runs. It is killed at the end of the test.
type Process struct {
	Cmd    *exec.Cmd
	File   string        // the pipeline file that it reads
	Output *Output       // what it has printed
	Waited chan struct{} // closed when it has ended

	t testing.TB
}

// Output collects what a process prints. It may be read while the process runs.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Options say how to run a process.
type Options struct {
	Binary string   // which program; default: pipe
	URL    string   // AMQP_URL
	HCL    string   // the pipeline file
	Args   []string // further arguments
	Env    []string // further environment variables
	CGroup string   // the folder of a control group that the process joins before it becomes pipe; default: none
}

// Start runs `pipe run` on a pipeline file with the given content.
func Start(t testing.TB, url, hcl string, args ...string) *Process {
	t.Helper()
	return StartWith(t, Options{URL: url, HCL: hcl, Args: args})
}

// StartWith is Start with all that can be chosen.
func StartWith(t testing.TB, o Options) *Process {
	t.Helper()
	if o.Binary == "" {
		var err error
		if o.Binary, err = Binary(); err != nil {
			t.Fatal(err)
		}
	}
	p := &Process{t: t, File: filepath.Join(t.TempDir(), "pipeline.hcl"), Output: &Output{}, Waited: make(chan struct{})}
	if err := os.WriteFile(p.File, []byte(o.HCL), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Cmd = o.command(p.File)
	p.Cmd.Env = append(append(os.Environ(), "AMQP_URL="+o.URL), o.Env...)
	p.Cmd.Stdout, p.Cmd.Stderr = p.Output, p.Output
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var waiting conc.WaitGroup
	waiting.Go(func() {
		defer close(p.Waited)
		_ = p.Cmd.Wait()
	})
	t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		waiting.Wait()
		if t.Failed() {
			t.Logf("pipe printed:\n%s", p.Tail())
		}
	})
	return p
}

func (o *Options) command(file string) *exec.Cmd {
	args := append([]string{"run", file}, o.Args...)
	if o.CGroup == "" {
		return exec.Command(o.Binary, args...)
	}
	const join = `echo $$ >"$1/cgroup.procs" && shift && exec "$@"`
	return exec.Command("/bin/sh", append([]string{"-c", join, "sh", o.CGroup, o.Binary}, args...)...)
}

// Tail returns the end of what the process has printed.
func (p *Process) Tail() string {
	const n = 8000
	s := p.Output.String()
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// Signal sends a signal; to a process that has ended, it does nothing.
func (p *Process) Signal(s os.Signal) { _ = p.Cmd.Process.Signal(s) }

// Kill ends the process at once, and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Waited
}

// Wait waits until the process has ended, and returns its exit code, -1 if a signal ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.Waited:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("pipe has not ended\n%s", p.Tail())
		return 0
	}
}

// Stop ends the process as an operator does, and expects that it ends well.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		p.t.Fatalf("after SIGTERM pipe ended with exit code %d\n%s", code, p.Tail())
	}
}

// Says waits until the output contains every one of the words.
func (p *Process) Says(words ...string) {
	p.t.Helper()
	testbroker.Eventually(p.t, patience, func() bool {
		out := p.Output.String()
		for _, w := range words {
			if !strings.Contains(out, w) {
				return false
			}
		}
		return true
	}, "pipe says "+strings.Join(words, ", "))
}

// PeakMemory returns the most memory that the process has had, in bytes; 0 where the system does not tell. (What the system
// tells at the end of a process may be the peak of the one that started it.)
func (p *Process) PeakMemory() int64 { return p.status("VmHWM:") }

// Memory returns how much memory the process has now, in bytes; 0 where the system does not tell.
func (p *Process) Memory() int64 { return p.status("VmRSS:") }

func (p *Process) status(name string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), name)
	var kB int64
	_, _ = fmt.Sscan(rest, &kB)
	return kB * 1024
}

// Files returns how many file descriptors the process has open; 0 where the system does not tell.
func (p *Process) Files() int {
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	return len(open)
}

// Goroutines ends the process with a trace of all goroutines, and returns how many there were.
func (p *Process) Goroutines() int {
	p.t.Helper()
	p.Signal(syscall.SIGQUIT)
	p.Wait()
	n := strings.Count(p.Output.String(), "\ngoroutine ")
	if n == 0 {
		p.t.Fatalf("pipe printed no goroutines\n%s", p.Tail())
	}
	return n
}

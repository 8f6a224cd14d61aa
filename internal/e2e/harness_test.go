// Package e2e runs pipe as people do: as a process, on a real broker that it does not own, and counts at the
// queues.
package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/pipeamqp/pipe/internal/pipetest"
)

func TestMain(m *testing.M) { os.Exit(pipetest.Main(m)) }

var (
	fill      = pipetest.Fill
	collect   = pipetest.Collect
	waitEmpty = pipetest.WaitEmpty
)

// process is a pipe that runs.
type process struct {
	*pipetest.Process
	cmd    *exec.Cmd
	output *pipetest.Output
	waited <-chan struct{}
}

func wrap(p *pipetest.Process) *process { return &process{p, p.Cmd, p.Output, p.Waited} }

// start runs `pipe run` on a pipeline file with the given content.
func start(t testing.TB, url, hcl string, args ...string) *process {
	t.Helper()
	return wrap(pipetest.Start(t, url, hcl, args...))
}

// startBinary does the same with another binary.
func startBinary(t testing.TB, path, url, hcl string, args ...string) *process {
	t.Helper()
	return wrap(pipetest.StartWith(t, pipetest.Options{Binary: path, URL: url, HCL: hcl, Args: args}))
}

func (p *process) signal(s os.Signal)   { p.Signal(s) }
func (p *process) peakMemory() int64    { return p.PeakMemory() }
func (p *process) wait() int            { return p.Wait() }
func (p *process) stop()                { p.Stop() }
func (p *process) says(words ...string) { p.Says(words...) }

func background() context.Context { return context.Background() }

//go:build faults

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/internal/pipetest"
)

// TestMemoryLimit runs pipe where the system kills it as soon as it takes more than it is given, with GOMEMLIMIT a quarter below, and
// with large messages. The system's limit holds for all that the process has: `ulimit -v` would count addresses that Go only reserves.
func TestMemoryLimit(t *testing.T) {
	const limit = 96 << 20
	group := controlGroup(t, limit)
	r := newRig(t, "classic", steady(t))
	padding = strings.Repeat("x", 64<<10) // 200 in flight are 13 MB
	defer func() { padding = strings.Repeat("x", 250) }()
	f := r.feedUpTo(5000, 10_000)
	p := pipetest.StartWith(t, pipetest.Options{
		HCL: file(r.urls), CGroup: group, Env: []string{"GOMEMLIMIT=" + strconv.Itoa(limit*3/4)},
	})
	n := f.wait()
	r.empties()
	t.Logf("peak memory %d MB of %d", p.PeakMemory()>>20, limit>>20)
	p.Stop()
	r.counts(expectation{published: n, ordered: f.again.Load() == 0, again: int(f.again.Load())})
}

// controlGroup makes a control group with a memory limit, which goes with the test; it skips the test where that is not allowed.
func controlGroup(t *testing.T, limit int) string {
	t.Helper()
	parent, file := memoryController()
	if parent == "" {
		t.Skip("no control group to limit memory with")
	}
	dir := filepath.Join(parent, fmt.Sprintf("pipe-faults-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skipf("make a control group: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600); err != nil {
		t.Skipf("limit the memory of a control group: %v", err)
	}
	return dir
}

// memoryController returns the folder of the control group that this process is in, and the name of the file with the limit.
func memoryController() (dir, file string) {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch fields[1] {
		case "memory":
			return filepath.Join("/sys/fs/cgroup/memory", fields[2]), "memory.limit_in_bytes"
		case "":
			dir, file = filepath.Join("/sys/fs/cgroup", fields[2]), "memory.max"
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
				dir, file = "", ""
			}
		}
	}
	return dir, file
}

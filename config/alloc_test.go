//go:build !race

package config_test

import "testing"

// TestPipelineAllocations bounds what a message allocates on its way through filter, map and route: 10, of which two are the test's own,
// the headers that a delivery comes with. Two more are the copy of the headers that is written to, as a retry begins with what came in.
func TestPipelineAllocations(t *testing.T) {
	const n = 32_000
	few := testing.AllocsPerRun(2, func() { runChain(t, n) })
	more := testing.AllocsPerRun(2, func() { runChain(t, 2*n) })
	if a := (more - few) / n; a > 10.5 {
		t.Errorf("%.2f allocations a message", a)
	}
}

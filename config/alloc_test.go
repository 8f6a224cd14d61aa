//go:build !race

package config_test

import "testing"

// TestPipelineAllocations bounds what a message allocates on its way through filter, map and route: 5. One is what is known of the body,
// which moves on when that is changed, one is the new body, two the header that is set, and one is the function that the sink is to call.
func TestPipelineAllocations(t *testing.T) {
	const n = 32_000
	few := testing.AllocsPerRun(2, func() { runChain(t, n) })
	more := testing.AllocsPerRun(2, func() { runChain(t, 2*n) })
	if a := (more - few) / n; a > 5.5 {
		t.Errorf("%.2f allocations a message", a)
	}
}

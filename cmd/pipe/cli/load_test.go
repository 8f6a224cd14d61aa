package cli

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// TestFewWarnings: of many warnings alike some are told, and how many there are; of errors, all.
func TestFewWarnings(t *testing.T) {
	var diags hcl.Diagnostics
	add := func(n int, severity hcl.DiagnosticSeverity, summary string) {
		for range n {
			diags = append(diags, &hcl.Diagnostic{Severity: severity, Summary: summary})
		}
	}
	add(5, hcl.DiagWarning, "many")
	add(5, hcl.DiagError, "wrong")
	add(3, hcl.DiagWarning, "few")
	told := map[string]int{}
	for _, d := range fewWarnings(diags) {
		told[d.Summary]++
	}
	want := map[string]int{"many": 3, "many, 2 times more": 1, "wrong": 5, "few": 3}
	for summary, n := range want {
		if told[summary] != n {
			t.Errorf("%q is told %d times, not %d", summary, told[summary], n)
		}
	}
	if len(told) != len(want) {
		t.Errorf("%v", told)
	}
}

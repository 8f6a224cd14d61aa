package config

import (
	"io"

	"github.com/hashicorp/hcl/v2"
)

// WriteDiagnostics writes diagnostics for people: each with its place, the line of the file with a caret
// below it, and what to do. width is the columns of the terminal, 0 for no limit. It returns the first
// error of w.
func WriteDiagnostics(w io.Writer, files map[string]*hcl.File, diags hcl.Diagnostics, width int, color bool) error {
	return nil
}

// DiagnosticsJSON returns diagnostics for programs, in the shape of `terraform validate -json`.
func DiagnosticsJSON(files map[string]*hcl.File, diags hcl.Diagnostics) ([]byte, error) {
	return nil, nil
}

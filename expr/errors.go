package expr

import (
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/pipeamqp/pipe/engine"
)

// Error is why an expression has no value for a message. It names the place in the file, the path
// that was read and the type that was found, never the value itself. Its text is made when it is
// asked for, so that an error that nobody reads costs little.
type Error struct {
	Range hcl.Range // where in the file
	Path  string    // what was read, as "body.total"; empty where the value has no name
	what  string    // the complaint; %t stands for the type that was found
	found kind
	cause error // nil, or more about it
}

// Error returns the place, the path and the complaint: "route.hcl:12,14-24: body.total: not a number
// but a string".
func (e *Error) Error() string {
	if e.Range == (hcl.Range{}) {
		return e.detail()
	}
	return e.Range.String() + ": " + e.detail()
}

// detail is the text without the place.
func (e *Error) detail() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString(strings.ReplaceAll(e.what, "%t", e.found.String()))
	if e.cause != nil {
		b.WriteString(": ")
		b.WriteString(e.cause.Error())
	}
	return b.String()
}

// Unwrap returns what is behind the error, if anything.
func (e *Error) Unwrap() error { return e.cause }

// classify gives the error the class that the engine acts on: trying again cannot help.
func (e *Error) classify() error {
	return engine.Permanent(engine.WithKind(engine.KindExpression, e))
}

// Diagnostic is the error for people who see the source: its place and the detail.
func (e *Error) Diagnostic() *hcl.Diagnostic {
	detail := e.detail() + "."
	if e.Path == "" {
		detail = sentence(detail)
	}
	return problem(e.Range, "Invalid value in expression", detail)
}

func problem(r hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &r}
}

// sentence makes a sentence of an error's text.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.TrimSuffix(strings.ToUpper(s[:1])+s[1:], ".") + "."
}

// place is where an expression stands and what it reads: all that its errors need to know.
type place struct {
	rng  hcl.Range
	path string
}

func (p *place) fail(what string, found value) *Error {
	return &Error{Range: p.rng, Path: p.path, what: what, found: found.kind}
}

func (p *place) failed(what string, cause error) *Error {
	return &Error{Range: p.rng, Path: p.path, what: what, cause: cause}
}

package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/telemetry"
)

// loader makes one configuration.
type loader struct {
	Options
	files  map[string]*hcl.File
	order  map[string]int // of files
	bodies []*hclsyntax.Body
	blocks rootBlocks

	diags    hcl.Diagnostics
	failures int // errors, and what was given up because of an error elsewhere
	secrets  secrets

	vars, locals map[string]cty.Value
	// broken are the references, as var.x, to what is not there or has no value; somebody has been
	// told of each.
	broken    map[string]bool
	used      map[string]bool // references as var.x
	functions map[string]map[string]function.Function
	defined   []expr.Definition // each after those that it calls

	connections map[string]*connection
	embedded    bool // one of them is in the process
	telemetry   *telemetry.Config
	entities    []*entity
	bindings    []*binding
	pipelines   []*pipeline
}

// rootBlocks are what files consist of.
type rootBlocks struct {
	Variables   []*hclsyntax.Block `hcl:"variable,block"`
	Locals      []*hclsyntax.Block `hcl:"locals,block"`
	Functions   []*hclsyntax.Block `hcl:"function,block"`
	Connections []*hclsyntax.Block `hcl:"connection,block"`
	Telemetry   []*hclsyntax.Block `hcl:"telemetry,block"`
	Declares    []*hclsyntax.Block `hcl:"declare,block"`
	Pipelines   []*hclsyntax.Block `hcl:"pipeline,block"`
}

func newLoader(o Options) *loader {
	if o.Registry == nil {
		o.Registry = new(engine.Registry)
	}
	if o.Environ == nil {
		o.Environ = os.LookupEnv
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &loader{
		Options: o, files: map[string]*hcl.File{}, order: map[string]int{},
		vars: map[string]cty.Value{}, locals: map[string]cty.Value{},
		broken: map[string]bool{}, used: map[string]bool{},
		functions:   map[string]map[string]function.Function{},
		connections: map[string]*connection{},
	}
}

// load makes the configuration of files that were read.
func (l *loader) load(sources []source) (*Config, hcl.Diagnostics) {
	c := &Config{}
	for i, s := range sources {
		l.order[s.name] = i
		l.bodies = append(l.bodies, l.parse(s))
	}
	if l.failures == 0 { // what a syntax error hides would only cause more errors
		l.check(c)
	}
	return c, l.finish(c)
}

// check goes from what is known first to what depends on it. Each step goes on after a mistake.
func (l *loader) check(c *Config) {
	for _, body := range l.bodies {
		(&decoder{loader: l}).decode(block{body: body, what: "a pipeline file", top: true}, &l.blocks)
	}
	l.checkReferences()
	l.setVariables()
	l.setFunctions()
	l.setLocals()
	l.setConnections()
	l.setTopology()
	l.openConnections()
	l.setTelemetry()
	l.setPipelines()
	l.checkBranches()
	l.checkUnused()
	l.fill(c)
}

// finish masks secrets, and puts the diagnostics in the order of the files.
func (l *loader) finish(c *Config) hcl.Diagnostics {
	c.files = map[string]*hcl.File{}
	for name, f := range l.files {
		c.files[name] = &hcl.File{Body: f.Body, Bytes: l.secrets.hideSource(name, f.Bytes), Nav: f.Nav}
	}
	l.secrets.hideAll(l.diags)
	slices.SortStableFunc(l.diags, func(a, b *hcl.Diagnostic) int {
		return cmp.Or(cmp.Compare(l.fileOf(a), l.fileOf(b)), cmp.Compare(offsetOf(a), offsetOf(b)))
	})
	return l.diags
}

func (l *loader) fileOf(d *hcl.Diagnostic) int {
	if d.Subject == nil {
		return -1
	}
	return l.order[d.Subject.Filename]
}

func offsetOf(d *hcl.Diagnostic) int {
	if d.Subject == nil {
		return -1
	}
	return d.Subject.Start.Byte
}

// report adds a diagnostic.
func (l *loader) report(severity hcl.DiagnosticSeverity, at *hcl.Range, summary, format string, args ...any) {
	l.add(hcl.Diagnostics{{Severity: severity, Subject: at, Summary: summary, Detail: fmt.Sprintf(format, args...)}})
}

func (l *loader) error(at hcl.Range, summary, format string, args ...any) {
	l.report(hcl.DiagError, &at, summary, format, args...)
}

func (l *loader) warn(at hcl.Range, summary, format string, args ...any) {
	l.report(hcl.DiagWarning, &at, summary, format, args...)
}

// add adds diagnostics, each once.
func (l *loader) add(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			l.failures++
		}
		if !slices.ContainsFunc(l.diags, func(have *hcl.Diagnostic) bool { return same(have, d) }) {
			l.diags = append(l.diags, d)
		}
	}
}

func same(a, b *hcl.Diagnostic) bool {
	return a.Severity == b.Severity && a.Summary == b.Summary && a.Detail == b.Detail &&
		(a.Subject == b.Subject || a.Subject != nil && b.Subject != nil && *a.Subject == *b.Subject)
}

// giveUp notes that something has no value because of a mistake that has been reported.
func (l *loader) giveUp() { l.failures++ }

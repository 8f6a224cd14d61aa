package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
)

// loadFlags are the flags of commands that load pipeline files.
type loadFlags struct {
	vars  []string
	files []string
}

func (f *loadFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "set a variable of the files, as `name=value` (may be repeated)")
	cmd.Flags().StringArrayVar(&f.files, "var-file", nil, "read values of variables from a `file` (may be repeated)")
}

// values splits what --var was given.
func (f *loadFlags) values() (map[string]string, error) {
	values := make(map[string]string, len(f.vars))
	for _, text := range f.vars {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			// The text is not repeated past its name: it may be a secret.
			return nil, &exitError{code: exitUsage, err: fmt.Errorf("--var is name=value, not %q", name)}
		}
		values[name] = value
	}
	return values, nil
}

// addresses are those that files do not say.
type addresses struct {
	override string // of every connection, whatever the files say
	embedded string // what "embedded:" stands for
}

// read reads pipeline files.
func (a *app) read(paths []string, flags loadFlags, log *slog.Logger, at addresses) (*config.Config, hcl.Diagnostics, error) {
	values, err := flags.values()
	if err != nil {
		return nil, nil, err
	}
	c, diags := config.Load(paths, config.Options{
		Registry: a.registry, Vars: values, VarFiles: flags.files, Logger: log, OverrideURL: at.override, EmbeddedURL: at.embedded,
	})
	return c, diags, nil
}

// load reads pipeline files and tells what is wrong with them; with errors among it, it fails.
func (a *app) load(paths []string, flags loadFlags, log *slog.Logger, at addresses) (*config.Config, error) {
	c, diags, err := a.read(paths, flags, log, at)
	if err != nil {
		return nil, err
	}
	return c, a.tell(c, diags)
}

// tell tells what is wrong with pipeline files; it returns an error if they cannot be used.
func (a *app) tell(c *config.Config, diags hcl.Diagnostics) error {
	a.writeDiagnostics(c.Files(), fewWarnings(diags))
	if diags.HasErrors() {
		return told(exitInvalid)
	}
	return nil
}

// warningsShown is how many warnings of a kind are told before something else is done. `pipe validate` tells all.
const warningsShown = 3

// fewWarnings leaves out what has been told several times, for it hides the rest.
func fewWarnings(diags hcl.Diagnostics) hcl.Diagnostics {
	var few hcl.Diagnostics
	more := map[string]int{}
	for _, d := range diags {
		if d.Severity == hcl.DiagWarning {
			if more[d.Summary]++; more[d.Summary] > warningsShown {
				continue
			}
		}
		few = append(few, d)
	}
	for _, summary := range slices.Sorted(maps.Keys(more)) {
		if left := more[summary] - warningsShown; left > 0 {
			few = append(few, &hcl.Diagnostic{
				Severity: hcl.DiagWarning, Summary: fmt.Sprintf("%s, %d times more", summary, left), Detail: "`pipe validate` shows them all.",
			})
		}
	}
	return few
}

// writeDiagnostics writes diagnostics for people to the error stream.
func (a *app) writeDiagnostics(files map[string]*hcl.File, diags hcl.Diagnostics) {
	width := 0
	if f, ok := terminal(a.Err); ok {
		width = columns(f)
	}
	_ = config.WriteDiagnostics(a.Err, files, diags, width, colourful(a.Err))
}

// brokerFlags are the flags of commands that do something at the brokers of pipeline files, and exit.
type brokerFlags struct {
	load    loadFlags
	log     logFlags
	timeout time.Duration
}

func (f *brokerFlags) add(cmd *cobra.Command) {
	f.load.add(cmd)
	f.log.add(cmd)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait for the brokers")
}

// atBrokers calls work with what the files say; its context ends with the timeout, and at the first interrupt.
func (a *app) atBrokers(ctx context.Context, args []string, flags brokerFlags, work func(context.Context, *config.Config, *output, *stops) error) error {
	out, err := a.output(flags.log)
	if err != nil {
		return err
	}
	c, err := a.load(args, flags.load, out.log, addresses{})
	if err != nil {
		return err
	}
	if c.Embedded {
		return &exitError{code: exitInvalid, err: errors.New("a connection is \"embedded:\": that broker is there only while `pipe run` runs")}
	}
	stops := watchSignals(ctx, out.stopping)
	defer stops.release()
	limited, cancel := context.WithTimeout(stops.ctx, flags.timeout)
	defer cancel()
	return stops.exit(work(limited, c, out, stops))
}

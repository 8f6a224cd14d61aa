package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// evalFlags say what message expressions see.
type evalFlags struct {
	message string
	set     []string
	raw     bool
}

func (a *app) evalCommand() *cobra.Command {
	var flags evalFlags
	cmd := &cobra.Command{
		Use:   "eval [EXPRESSION]",
		Short: "Try expressions on a message",
		Long: `Eval prints the value of an expression for a message, as JSON. Without an expression it reads them from the
terminal, one a line, and prints each one's value at once: the arrow keys bring back earlier lines, the tabulator
completes fields, properties and functions, and ctrl-D ends it. Lines that come from elsewhere are evaluated one by one.

The message is the file that is named, or else an order that is made up. An expression that is wrong ends eval with 3, one
that has no value for the message with 1.`,
		Example: `  pipe eval 'upper("abc")'
  pipe eval 'sum(body.items[*].qty)' --message order.json
  pipe eval '"eu.${msg.headers["x-tier"]}"' --set 'msg.headers["x-tier"] = "gold"'
  pipe eval`,
		Args: atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.newEvaluator(flags)
			switch {
			case err != nil:
				return err
			case len(args) == 1:
				return e.once(args[0])
			}
			return e.interactive()
		},
	}
	cmd.Flags().StringVar(&flags.message, "message", "", "take the body of the message from a `file`; - is the standard input")
	cmd.Flags().StringArrayVar(&flags.set, "set", nil, "change the message before, by an `assignment` as in a map stage: 'msg.type = \"order\"' (may be repeated)")
	cmd.Flags().BoolVar(&flags.raw, "raw", false, "print a string as it is, not as JSON")
	return cmd
}

// evaluator evaluates expressions that are typed in.
type evaluator struct {
	*app
	raw     bool
	message *engine.Message
}

// sampleSeed makes the order that expressions see where no message is named.
const sampleSeed = 1

func (a *app) newEvaluator(flags evalFlags) (*evaluator, error) {
	body, err := a.sampleBody(flags.message)
	if err != nil {
		return nil, err
	}
	m := engine.NewMessage(body, nil)
	if flags.message == "" {
		m.RoutingKey, m.Properties.ContentType = "order.eu", "application/json"
	}
	e := &evaluator{app: a, raw: flags.raw, message: m}
	for _, assignment := range flags.set {
		if err := e.assign(assignment); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (a *app) sampleBody(file string) ([]byte, error) {
	switch file {
	case "":
		return newOrderMaker(sampleSeed).next()
	case "-":
		body, err := io.ReadAll(a.In)
		if err != nil {
			return nil, fmt.Errorf("read the message: %w", err)
		}
		return body, nil
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the message: %w", err)
	}
	return body, nil
}

// assign changes the message as --set says.
func (e *evaluator) assign(source string) error {
	source = "{" + source + "}"
	native, diags := parseTyped(source)
	if diags.HasErrors() {
		return e.told(source, diags)
	}
	set, diags := expr.NewScope(nil).Assignments(native)
	if e.show(source, diags); diags.HasErrors() {
		return told(exitInvalid)
	}
	if err := set.Apply(e.message); err != nil {
		return e.told(source, explainFailure(err))
	}
	return nil
}

// typed is how diagnostics name what was typed.
const typed = "expression"

func parseTyped(source string) (hclsyntax.Expression, hcl.Diagnostics) {
	return hclsyntax.ParseExpression([]byte(source), typed, hcl.InitialPos)
}

// explainFailure makes diagnostics of an error of an evaluation.
func explainFailure(err error) hcl.Diagnostics {
	var e *expr.Error
	if errors.As(err, &e) {
		return hcl.Diagnostics{e.Diagnostic()}
	}
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "No value", Detail: err.Error()}}
}

// show writes what there is to say about what was typed.
func (e *evaluator) show(source string, diags hcl.Diagnostics) {
	if len(diags) > 0 {
		e.writeDiagnostics(map[string]*hcl.File{typed: {Bytes: []byte(source)}}, diags)
	}
}

func (e *evaluator) told(source string, diags hcl.Diagnostics) error {
	e.show(source, diags)
	return told(exitInvalid)
}

// compile compiles an expression and shows what is wrong with it.
func (e *evaluator) compile(source string) (expr.Value, bool) {
	native, diags := parseTyped(source)
	var v expr.Value
	if !diags.HasErrors() {
		v, diags = expr.NewScope(nil).Value(native)
	}
	e.show(source, diags)
	return v, !diags.HasErrors()
}

// once evaluates the expression of a command line.
func (e *evaluator) once(source string) error {
	v, ok := e.compile(source)
	if !ok {
		return told(exitInvalid)
	}
	out, err := e.text(v)
	if err != nil {
		e.show(source, explainFailure(err))
		return told(exitFailed)
	}
	_, err = fmt.Fprintf(e.Out, "%s\n", out)
	return err
}

// text is the value as it is printed.
func (e *evaluator) text(v expr.Value) ([]byte, error) {
	if e.raw {
		g, err := v.Eval(e.message)
		if s, ok := g.(string); ok || err != nil {
			return []byte(s), err
		}
	}
	return v.AppendJSON(nil, e.message)
}

// interactive evaluates what is typed, or what comes in lines.
func (e *evaluator) interactive() error {
	in, ok := e.In.(*os.File)
	if _, toTerminal := terminal(e.Out); ok && toTerminal {
		if _, fromTerminal := terminal(in); fromTerminal {
			return e.talk(in)
		}
	}
	worst := error(nil)
	lines := bufio.NewScanner(e.In)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		if err := e.once(line); err != nil {
			worst = err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the expressions: %w", err)
	}
	return worst
}

package cli

//go:generate sh -c "go run .. functions --markdown > ../../../docs/functions.md"

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/mitchellh/go-wordwrap"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/expr"
)

func (a *app) functionsCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "functions [NAME]",
		Short: "Explain the functions of expressions",
		Long: `Functions lists the functions that expressions may call. With a name it prints what the function takes and gives,
and an example.`,
		Example: `  pipe functions
  pipe functions substr`,
		Args: atMost(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return functionNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				return a.explainFunction(cmd, args[0])
			case markdown:
				return a.functionsPage()
			}
			return a.listFunctions()
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the reference of all functions as Markdown")
	return cmd
}

func functionNames() []string {
	var names []string
	for _, f := range expr.Functions() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

func (a *app) listFunctions() error {
	var b strings.Builder
	group := ""
	for _, f := range expr.Functions() {
		if f.Group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = f.Group
			fmt.Fprintf(&b, "%s:\n", group)
		}
		fmt.Fprintf(&b, "  %-15s %s\n", f.Name, firstSentence(f.Doc))
	}
	b.WriteString("\nMore about one: pipe functions NAME\n")
	_, err := a.Out.Write([]byte(b.String()))
	return err
}

func (a *app) explainFunction(cmd *cobra.Command, name string) error {
	all := expr.Functions()
	i := slices.IndexFunc(all, func(f expr.Function) bool { return f.Name == name })
	if i < 0 {
		return usageError(cmd, fmt.Errorf("there is no function %q%s", name, didYouMean(name, functionNames())))
	}
	f := all[i]
	_, err := fmt.Fprintf(a.Out, "%s\n\n%s\n\n  %s\n", f.Signature, wordwrap.WrapString(f.Doc, uint(a.textWidth())), exampleOf(f))
	return err
}

// exampleOf is a function's example with what it gives.
func exampleOf(f expr.Function) string {
	if f.Result == "" {
		return f.Example
	}
	return f.Example + "  →  " + f.Result
}

// functionsPage prints the reference of all functions as one page.
func (a *app) functionsPage() error {
	var b bytes.Buffer
	b.WriteString("# Functions of expressions\n\nMade by `pipe functions --markdown`. [`expressions.md`](expressions.md) explains the rest of the language.\n" +
		"\nAn argument is converted to the type that is named; `?` marks what may be left out, `...` what may be given any number of times. " +
		"A name that Terraform has, too, means what it means there.\n")
	group := ""
	for _, f := range expr.Functions() {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n    %s\n", f.Signature, f.Doc, exampleOf(f))
	}
	_, err := a.Out.Write(b.Bytes())
	return err
}

package cli

//go:generate sh -c "go run .. stages --markdown > ../../../docs/reference.md"

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
)

func (a *app) stagesCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "stages [KIND]",
		Short: "Explain stages, sources, sinks and the other blocks of a file",
		Long: `Stages lists every kind of source, stage and sink that this binary has, and the other blocks of a file. With
a kind it prints the reference of it: its arguments, their types and defaults.`,
		Example: `  pipe stages
  pipe stages route`,
		Args: atMost(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.kinds(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && markdown:
				return a.explainAll()
			case len(args) == 0:
				return a.listComponents()
			}
			return a.explain(cmd, args[0], markdown)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the reference as Markdown: of KIND, or without it of everything")
	return cmd
}

var roles = []struct {
	title string
	roles []engine.Role
}{
	{"Sources", []engine.Role{engine.RoleSource}},
	{"Stages", []engine.Role{engine.RoleStage, engine.RoleAggregator}},
	{"Sinks", []engine.Role{engine.RoleSink}},
}

func (a *app) listComponents() error {
	var b strings.Builder
	for i, part := range roles {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s:\n", part.title)
		for _, role := range part.roles {
			for _, kind := range a.registry.Kinds(role) {
				c, _ := a.registry.Lookup(role, kind)
				fmt.Fprintf(&b, "  %-10s %s\n", kind, firstSentence(config.Describe(c).Text))
			}
		}
	}
	b.WriteString("\nOther blocks:\n")
	for _, d := range config.Blocks() {
		fmt.Fprintf(&b, "  %-10s %s\n", d.Kind, firstSentence(d.Text))
	}
	b.WriteString("\nMore about one: pipe stages KIND\n")
	_, err := a.Out.Write([]byte(b.String()))
	return err
}

func firstSentence(text string) string {
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}

// explain prints the reference of every component of a kind.
func (a *app) explain(cmd *cobra.Command, kind string, markdown bool) error {
	found := false
	for _, part := range roles {
		for _, role := range part.roles {
			c, ok := a.registry.Lookup(role, kind)
			if !ok {
				continue
			}
			if found {
				fmt.Fprintln(a.Out)
			}
			found = true
			if err := a.writeReference(config.Describe(c), markdown); err != nil {
				return err
			}
		}
	}
	for _, d := range config.Blocks() {
		if d.Kind == kind {
			found = true
			if err := a.writeReference(d, markdown); err != nil {
				return err
			}
		}
	}
	if found {
		return nil
	}
	return usageError(cmd, fmt.Errorf("there is no source, stage, sink or other block %q%s", kind, didYouMean(kind, a.kinds())))
}

// explainAll prints the whole reference as one page.
func (a *app) explainAll() error {
	var b bytes.Buffer
	b.WriteString("# Reference of pipeline files\n\nMade by `pipe stages --markdown`. [`pipelines/`](../pipelines/) shows these blocks at work.\n")
	write := func(d config.Doc) error {
		b.WriteString("\n")
		return d.WriteMarkdown(&b, 2)
	}
	for _, d := range config.Blocks() {
		if err := write(d); err != nil {
			return err
		}
	}
	for _, part := range roles {
		for _, role := range part.roles {
			for _, kind := range a.registry.Kinds(role) {
				c, _ := a.registry.Lookup(role, kind)
				if err := write(config.Describe(c)); err != nil {
					return err
				}
			}
		}
	}
	_, err := a.Out.Write(b.Bytes())
	return err
}

func (a *app) writeReference(d config.Doc, markdown bool) error {
	if markdown {
		return d.WriteMarkdown(a.Out, 1)
	}
	return d.WriteText(a.Out, a.textWidth())
}

// textWidth is how many columns text for people has.
func (a *app) textWidth() int {
	if f, ok := terminal(a.Out); ok {
		return min(columns(f), 100)
	}
	return 80
}

// kinds lists the kinds of all roles, and the other blocks.
func (a *app) kinds() []string {
	var kinds []string
	for _, part := range roles {
		for _, role := range part.roles {
			kinds = append(kinds, a.registry.Kinds(role)...)
		}
	}
	for _, d := range config.Blocks() {
		kinds = append(kinds, d.Kind)
	}
	return kinds
}

// didYouMean returns the end of a sentence that names what was probably meant, or "".
func didYouMean(name string, among []string) string {
	best, distance := "", 3
	for _, candidate := range among {
		if d := levenshtein.Distance(name, candidate, nil); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

package cli

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
)

func (a *app) validateCommand() *cobra.Command {
	var flags loadFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate FILE|FOLDER...",
		Short: "Check pipeline files",
		Long: `Validate checks pipeline files without a broker, and reports every mistake at once, with its place.
All files together form one configuration. It exits with 3 if there is a mistake; warnings are none.`,
		Example: `  pipe validate pipelines/route.hcl
  pipe validate --json pipelines/`,
		Args: atLeastOne("pipeline file"),
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(args, flags, asJSON) },
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) validate(args []string, flags loadFlags, asJSON bool) error {
	c, diags, err := a.read(args, flags, nil, addresses{})
	if err != nil {
		return err
	}
	if err := a.writeResult(c, diags, asJSON); err != nil {
		return err
	}
	if diags.HasErrors() {
		return told(exitInvalid)
	}
	return nil
}

func (a *app) writeResult(c *config.Config, diags hcl.Diagnostics, asJSON bool) error {
	if asJSON {
		text, err := config.DiagnosticsJSON(c.Files(), diags)
		if err != nil {
			return fmt.Errorf("write the result as JSON: %w", err)
		}
		_, err = fmt.Fprintf(a.Out, "%s\n", text)
		return err
	}
	a.writeDiagnostics(c.Files(), diags)
	if diags.HasErrors() {
		return nil
	}
	_, err := fmt.Fprintf(a.Out, "The configuration is valid: %s.\n", plural(len(c.Pipelines), "pipeline"))
	return err
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

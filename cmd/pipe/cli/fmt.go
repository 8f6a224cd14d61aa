package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
)

type fmtFlags struct {
	check bool
	diff  bool
}

func (a *app) fmtCommand() *cobra.Command {
	var flags fmtFlags
	cmd := &cobra.Command{
		Use:   "fmt [FILE|FOLDER]...",
		Short: "Format pipeline files",
		Long: `Fmt rewrites pipeline files in the usual layout and prints the names of those that it changed.
Of a folder it takes every *.hcl file; without arguments it takes the current folder. "-" formats
what it reads to what it writes.`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.format(args, flags) },
	}
	cmd.Flags().BoolVar(&flags.check, "check", false, "change nothing; exit with 3 if a file is not formatted")
	cmd.Flags().BoolVar(&flags.diff, "diff", false, "change nothing; print what would change")
	return cmd
}

func (a *app) format(args []string, flags fmtFlags) error {
	if len(args) == 0 {
		args = []string{"."}
	}
	if len(args) == 1 && args[0] == "-" {
		return a.formatStream(flags)
	}
	paths, err := hclFiles(args)
	if err != nil {
		return err
	}
	changed, invalid := false, false
	for _, path := range paths {
		c, err := a.formatFile(path, flags)
		changed = changed || c
		if errors.Is(err, errSyntax) {
			invalid = true
		} else if err != nil {
			return err
		}
	}
	if invalid || flags.check && changed {
		return told(exitInvalid)
	}
	return nil
}

func (a *app) formatStream(flags fmtFlags) error {
	before, err := io.ReadAll(a.In)
	if err != nil {
		return fmt.Errorf("read the standard input: %w", err)
	}
	after, err := a.formatted("<stdin>", before)
	if err != nil {
		return told(exitInvalid)
	}
	switch {
	case flags.diff:
		_, err = a.Out.Write(diff.Diff("<stdin>", before, "<stdin>", after))
	case !flags.check:
		_, err = a.Out.Write(after)
	}
	if err == nil && flags.check && !bytes.Equal(before, after) {
		return told(exitInvalid)
	}
	return err
}

// formatFile formats one file, or tells what would change, and reports whether it was not formatted.
func (a *app) formatFile(path string, flags fmtFlags) (changed bool, err error) {
	before, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	after, err := a.formatted(path, before)
	if err != nil || bytes.Equal(before, after) {
		return false, err
	}
	switch {
	case flags.diff:
		_, err = a.Out.Write(diff.Diff(path, before, path+" (formatted)", after))
	case flags.check:
		_, err = fmt.Fprintln(a.Out, path)
	default:
		if err = os.WriteFile(path, after, 0o644); err == nil {
			_, err = fmt.Fprintln(a.Out, path)
		}
	}
	return true, err
}

var errSyntax = errors.New("the file does not parse")

// formatted returns the usual layout of a source. One that does not parse is reported and errSyntax
// returned.
func (a *app) formatted(name string, source []byte) ([]byte, error) {
	file, diags := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
	if diags.HasErrors() {
		a.writeDiagnostics(map[string]*hcl.File{name: file}, diags)
		return nil, errSyntax
	}
	return hclwrite.Format(source), nil
}

// hclFiles returns the files that arguments stand for: of a folder, every *.hcl file in it.
func hclFiles(args []string) ([]string, error) {
	var paths []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("there is no file or folder %s", arg)
		case err != nil:
			return nil, err
		case !info.IsDir():
			paths = append(paths, arg)
			continue
		}
		inside, err := filesIn(arg)
		if err != nil {
			return nil, err
		}
		paths = append(paths, inside...)
	}
	return paths, nil
}

func filesIn(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".hcl" {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there is no *.hcl file in %s", folder)
	}
	return paths, nil
}

package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mitchellh/go-wordwrap"
)

// Header returns how the block of d begins, as: stage "filter" "NAME".
func (d Doc) Header() string {
	switch d.Role {
	case "":
		parts := []string{d.Kind}
		for _, label := range d.Labels {
			parts = append(parts, quoted(strings.ToUpper(label)))
		}
		return strings.Join(parts, " ")
	case "source", "sink":
		header := fmt.Sprintf("%s %q", d.Role, d.Kind)
		if d.Role == "sink" {
			header += ` "NAME"`
		}
		return header
	}
	return fmt.Sprintf(`stage %q "NAME"`, d.Kind)
}

// Facts returns what is to be known of an argument besides its text, as: string, for each message; required.
func (a Argument) Facts() string {
	facts := []string{a.Type}
	if a.PerMessage {
		facts[0] += ", for each message"
	}
	if a.Required {
		facts = append(facts, "required")
	}
	if len(a.Enum) > 0 {
		facts = append(facts, list(a.Enum, quoted, "or"))
	}
	switch {
	case a.Min != "" && a.Max != "":
		facts = append(facts, a.Min+" to "+a.Max)
	case a.Min != "":
		facts = append(facts, "at least "+a.Min)
	case a.Max != "":
		facts = append(facts, "at most "+a.Max)
	}
	if a.Default != "" {
		facts = append(facts, "default "+a.Default)
	}
	return strings.Join(facts, "; ")
}

const defaultWidth = 80

// WriteText writes the reference for a terminal. width is the columns to use, 0 for 80. It returns the first
// error of w.
func (d Doc) WriteText(w io.Writer, width int) error {
	if width <= 0 {
		width = defaultWidth
	}
	t := textWriter{width: width}
	t.block(d, "")
	_, err := w.Write(t.Bytes())
	return err
}

type textWriter struct {
	bytes.Buffer
	width int
}

func (t *textWriter) block(d Doc, indent string) {
	t.line(indent, d.Header()+" { … }"+d.occurrence())
	t.paragraph(indent+"  ", d.Text)
	t.parts(indent+"  ", d.Arguments, d.Blocks)
	if len(d.CommonArguments) > 0 {
		t.line("", "")
		t.line(indent+"  ", "As in every "+d.commonRole()+":")
		t.parts(indent+"  ", d.CommonArguments, d.CommonBlocks)
	}
}

func (d Doc) commonRole() string {
	if d.Role == "aggregator" {
		return "stage that works on groups"
	}
	return string(d.Role)
}

// occurrence tells how often a block may be there.
func (d Doc) occurrence() string {
	switch {
	case d.Role != "":
		return ""
	case d.Many:
		return "  (any number)"
	case d.Required:
		return "  (required)"
	}
	return "  (at most one)"
}

func (t *textWriter) parts(indent string, arguments []Argument, blocks []Doc) {
	for _, a := range arguments {
		t.line("", "")
		t.line(indent, a.Name+"  ("+a.Facts()+")")
		t.paragraph(indent+"  ", a.Text)
	}
	for _, b := range blocks {
		t.line("", "")
		t.block(b, indent)
	}
}

func (t *textWriter) line(indent, text string) {
	t.WriteString(strings.TrimRight(indent+text, " ") + "\n")
}

func (t *textWriter) paragraph(indent, text string) {
	if text == "" {
		return
	}
	width := max(20, t.width-len(indent))
	for line := range strings.Lines(wordwrap.WrapString(text, uint(width))) {
		t.line(indent, strings.TrimRight(line, "\n"))
	}
}

// WriteMarkdown writes the reference as Markdown, below a heading of a level from 1. It returns the first error of w.
func (d Doc) WriteMarkdown(w io.Writer, level int) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s `%s`\n\n%s\n", strings.Repeat("#", level), d.Header(), d.Text)
	markdownParts(&b, d.Arguments, d.Blocks, level+1)
	if len(d.CommonArguments) > 0 {
		fmt.Fprintf(&b, "\n%s As in every %s\n", strings.Repeat("#", level+1), d.commonRole())
		markdownParts(&b, d.CommonArguments, d.CommonBlocks, level+2)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func markdownParts(b *bytes.Buffer, arguments []Argument, blocks []Doc, level int) {
	if len(arguments) > 0 {
		b.WriteString("\n| argument | value | |\n|---|---|---|\n")
	}
	for _, a := range arguments {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", a.Name, cell(a.Facts()), cell(a.Text))
	}
	for _, d := range blocks {
		fmt.Fprintf(b, "\n%s Block `%s`%s\n", strings.Repeat("#", level), d.Header(), d.occurrence())
		if d.Text != "" {
			fmt.Fprintf(b, "\n%s\n", d.Text)
		}
		markdownParts(b, d.Arguments, d.Blocks, level+1)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

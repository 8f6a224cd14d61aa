package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/mitchellh/go-wordwrap"
)

// WriteDiagnostics writes diagnostics for people: each with its place, the line of the file with carets
// below it, and what to do. width is the columns of the terminal, 0 for no limit. It returns the first
// error of w.
func WriteDiagnostics(w io.Writer, files map[string]*hcl.File, diags hcl.Diagnostics, width int, color bool) error {
	var b bytes.Buffer
	for i, d := range diags {
		if i > 0 {
			b.WriteByte('\n')
		}
		p := printer{&b, width, color}
		p.diagnostic(files, d)
	}
	_, err := w.Write(b.Bytes())
	return err
}

type printer struct {
	*bytes.Buffer
	width int
	color bool
}

// paint writes text in a colour, if there are colours.
func (p *printer) paint(code, text string) {
	if p.color {
		text = "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	p.WriteString(text)
}

func (p *printer) diagnostic(files map[string]*hcl.File, d *hcl.Diagnostic) {
	severity, color := "Error", "1;31"
	if d.Severity == hcl.DiagWarning {
		severity, color = "Warning", "1;33"
	}
	p.paint(color, severity+": ")
	p.paint("1", d.Summary)
	p.WriteByte('\n')
	if d.Subject != nil {
		p.place(files[d.Subject.Filename], *d.Subject, color)
	}
	p.detail(d.Detail)
}

// place writes where a diagnostic is, and the line with carets below what it is about.
func (p *printer) place(file *hcl.File, at hcl.Range, color string) {
	fmt.Fprintf(p, "  on %s", position(at))
	if context := contextOf(file, at); context != "" {
		fmt.Fprintf(p, ", in %s", context)
	}
	p.WriteString(":\n")
	s, ok := snippetOf(file, at)
	if !ok {
		return
	}
	number := fmt.Sprintf("%4d", at.Start.Line)
	fmt.Fprintf(p, "%s | %s\n", number, p.fit(s.before+s.marked+s.after))
	fmt.Fprintf(p, "%s | %s", strings.Repeat(" ", len(number)), blank(s.before))
	p.paint(color, strings.Repeat("^", max(1, len([]rune(s.marked)))))
	p.WriteByte('\n')
}

// fit cuts a line of a file to the terminal.
func (p *printer) fit(line string) string {
	const margin = 7
	runes := []rune(line)
	if p.width <= margin+1 || len(runes) <= p.width-margin {
		return line
	}
	return string(runes[:p.width-margin-1]) + "…"
}

func (p *printer) detail(text string) {
	if text == "" {
		return
	}
	if p.width > 20 {
		text = wordwrap.WrapString(text, uint(p.width-2))
	}
	for line := range strings.Lines(text) {
		p.WriteString("  " + line)
	}
	p.WriteByte('\n')
}

// blank returns the white space that is as wide as a text.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}

// snippet is the first line of a range, in three parts.
type snippet struct {
	before, marked, after string
	start                 int // where the line starts in the file
}

func snippetOf(file *hcl.File, at hcl.Range) (snippet, bool) {
	if file == nil || at.Start.Byte < 0 || at.Start.Byte > len(file.Bytes) {
		return snippet{}, false
	}
	src := file.Bytes
	start := bytes.LastIndexByte(src[:at.Start.Byte], '\n') + 1
	end := len(src)
	if n := bytes.IndexByte(src[start:], '\n'); n >= 0 {
		end = start + n
	}
	line := bytes.TrimSuffix(src[start:end], []byte("\r"))
	from := min(at.Start.Byte-start, len(line))
	to := max(from, min(at.End.Byte-start, len(line)))
	text := func(b []byte) string { return strings.ToValidUTF8(string(b), "�") }
	return snippet{text(line[:from]), strings.TrimRight(text(line[from:to]), " \t"), text(line[to:]), start}, true
}

// contextOf names the blocks around a place: pipeline "orders", source "amqp".
func contextOf(file *hcl.File, at hcl.Range) string {
	if file == nil {
		return ""
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return ""
	}
	var names []string
	for body != nil {
		body = inner(body, at, &names)
	}
	return strings.Join(names, ", ")
}

// inner returns the body of the block of a body that a place is in, and notes the block's name.
func inner(body *hclsyntax.Body, at hcl.Range, names *[]string) *hclsyntax.Body {
	for _, b := range body.Blocks {
		if b.Range().ContainsPos(at.Start) && b.DefRange() != at {
			*names = append(*names, blockOf(b).what)
			return b.Body
		}
	}
	return nil
}

// The JSON shape is that of `terraform validate -json`, which editors and other tools know.
type (
	jsonResult struct {
		FormatVersion string           `json:"format_version"`
		Valid         bool             `json:"valid"`
		ErrorCount    int              `json:"error_count"`
		WarningCount  int              `json:"warning_count"`
		Diagnostics   []jsonDiagnostic `json:"diagnostics"`
	}
	jsonDiagnostic struct {
		Severity string       `json:"severity"`
		Summary  string       `json:"summary"`
		Detail   string       `json:"detail"`
		Range    *jsonRange   `json:"range,omitempty"`
		Snippet  *jsonSnippet `json:"snippet,omitempty"`
	}
	jsonRange struct {
		Filename string  `json:"filename"`
		Start    jsonPos `json:"start"`
		End      jsonPos `json:"end"`
	}
	jsonPos struct {
		Line   int `json:"line"`
		Column int `json:"column"`
		Byte   int `json:"byte"`
	}
	jsonSnippet struct {
		Context              *string  `json:"context"`
		Code                 string   `json:"code"`
		StartLine            int      `json:"start_line"`
		HighlightStartOffset int      `json:"highlight_start_offset"`
		HighlightEndOffset   int      `json:"highlight_end_offset"`
		Values               []string `json:"values"`
	}
)

// DiagnosticsJSON returns diagnostics for programs, in the shape of `terraform validate -json`.
func DiagnosticsJSON(files map[string]*hcl.File, diags hcl.Diagnostics) ([]byte, error) {
	out := jsonResult{FormatVersion: "1.0", Diagnostics: []jsonDiagnostic{}}
	for _, d := range diags {
		one := jsonDiagnostic{Severity: "error", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			one.Severity = "warning"
			out.WarningCount++
		} else {
			out.ErrorCount++
		}
		if at := d.Subject; at != nil {
			one.Range = &jsonRange{at.Filename, jsonPos(at.Start), jsonPos(at.End)}
			one.Snippet = jsonSnippetOf(files[at.Filename], *at)
		}
		out.Diagnostics = append(out.Diagnostics, one)
	}
	out.Valid = out.ErrorCount == 0
	return json.MarshalIndent(out, "", "  ")
}

func jsonSnippetOf(file *hcl.File, at hcl.Range) *jsonSnippet {
	s, ok := snippetOf(file, at)
	if !ok {
		return nil
	}
	out := &jsonSnippet{
		Code: s.before + s.marked + s.after, StartLine: at.Start.Line,
		HighlightStartOffset: len(s.before), HighlightEndOffset: len(s.before) + len(s.marked), Values: []string{},
	}
	if context := contextOf(file, at); context != "" {
		out.Context = &context
	}
	return out
}

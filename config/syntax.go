package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// explainSyntax puts a better explanation into syntax errors that have a usual cause here.
func explainSyntax(s source, diags hcl.Diagnostics) hcl.Diagnostics {
	for _, d := range diags {
		if d.Subject == nil || !d.Subject.CanSliceBytes(s.text) {
			continue
		}
		end := d.Subject.End.Byte
		if d.Summary != "Argument or block definition required" || end >= len(s.text) {
			continue
		}
		word := string(d.Subject.SliceBytes(s.text))
		switch s.text[end] {
		case '.', '[':
			if outer := enclosing(s, d.Subject.Start.Byte); outer != "" {
				d.Summary = "Assignment outside of an object"
				d.Detail = fmt.Sprintf("%q is an argument here, not a block. Write it with an equals sign: %s = { %s… = … }.", outer, outer, word)
			}
		case ':':
			d.Detail = fmt.Sprintf("Write %s = …, with an equals sign instead of a colon.", word)
		}
	}
	return diags
}

// enclosing returns the name of the innermost block that is open at a position, "" if there is none.
func enclosing(s source, at int) string {
	tokens, _ := hclsyntax.LexConfig(s.text, s.name, hcl.InitialPos)
	var open []string
	for i, t := range tokens {
		if t.Range.Start.Byte >= at {
			break
		}
		switch t.Type {
		case hclsyntax.TokenOBrace:
			name := ""
			if i > 0 && tokens[i-1].Type == hclsyntax.TokenIdent {
				name = string(tokens[i-1].Bytes)
			}
			open = append(open, name)
		case hclsyntax.TokenCBrace:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
	}
	if len(open) == 0 {
		return ""
	}
	return open[len(open)-1]
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// source is a file as it was read.
type source struct {
	name string
	text []byte
}

// read reads files, and the *.hcl files of folders, each once.
func (l *loader) read(paths []string) (sources []source) {
	seen := map[string]bool{}
	for _, path := range paths {
		for _, name := range l.find(path) {
			if key, err := filepath.Abs(name); err == nil && seen[key] {
				continue
			} else if err == nil {
				seen[key] = true
			}
			if text, ok := l.readFile(name); ok {
				sources = append(sources, source{name, text})
			}
		}
	}
	return sources
}

// find returns path, or the *.hcl files in it if it is a folder.
func (l *loader) find(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		l.report(hcl.DiagError, nil, "File cannot be read", "%s.", fileProblem(path, err))
		return nil
	}
	if !info.IsDir() {
		return []string{path}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		l.report(hcl.DiagError, nil, "Folder cannot be read", "%s.", fileProblem(path, err))
		return nil
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".hcl" {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		l.report(hcl.DiagError, nil, "Folder without pipeline files", "There is no file whose name ends in .hcl in %s.", path)
	}
	slices.Sort(names)
	return names
}

// maxFile is how long a file may be.
const maxFile = 4 << 20

func (l *loader) readFile(name string) ([]byte, bool) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("it has %d bytes; at most %d are read", info.Size(), maxFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		l.report(hcl.DiagError, nil, "File cannot be read", "%s.", fileProblem(name, err))
	}
	return text, err == nil
}

// fileProblem says what is wrong with a file, without naming it twice.
func fileProblem(name string, err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Sprintf("%s: %s", name, err)
}

// parse makes a tree of a file, and remembers its text. The tree is not nil, and lacks what could not be
// understood.
func (l *loader) parse(s source) *hclsyntax.Body {
	if at, ok := tooDeep(s); ok {
		l.files[s.name] = &hcl.File{Bytes: s.text}
		l.error(at, "Nested too deeply", "This file cannot be read: brackets or operators are nested too deeply.")
		return &hclsyntax.Body{}
	}
	file, diags := hclsyntax.ParseConfig(s.text, s.name, hcl.InitialPos)
	l.files[s.name] = file
	l.add(explainSyntax(s, diags))
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return &hclsyntax.Body{}
	}
	return body
}

// The parser calls itself for what is nested. These bounds keep its stack small.
const (
	maxBrackets  = 250
	maxOperators = 20_000
)

// tooDeep reports where a file is nested more deeply than the parser can bear.
func tooDeep(s source) (hcl.Range, bool) {
	if among(s.text, "{[(") <= maxBrackets && among(s.text, "!-?") <= maxOperators {
		return hcl.Range{}, false // as in almost every file, and not worth the tokens
	}
	tokens, _ := hclsyntax.LexConfig(s.text, s.name, hcl.InitialPos)
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenQuestion:
			operators++
		}
		if depth > maxBrackets || operators > maxOperators {
			return t.Range, true
		}
	}
	return hcl.Range{}, false
}

// among counts the bytes of a text that are one of chars.
func among(text []byte, chars string) (n int) {
	for i := range len(chars) {
		n += bytes.Count(text, []byte{chars[i]})
	}
	return n
}

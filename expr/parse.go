package expr

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// ParseBool compiles a condition from its text, for Go programs and tests. There are no names but
// those of the message. Warnings are not reported.
func ParseBool(src string) (Bool, error) { return parse(src, (*Scope).Bool) }

// ParseString compiles an expression that makes a string, as ParseBool. A text is not a template: it
// needs its quotes.
func ParseString(src string) (String, error) { return parse(src, (*Scope).String) }

// ParseValue compiles an expression of any type, as ParseBool.
func ParseValue(src string) (Value, error) { return parse(src, (*Scope).Value) }

// ParseMap compiles an object of named values, as ParseBool.
func ParseMap(src string) (Map, error) { return parse(src, (*Scope).Map) }

// ParseAssignments compiles assignments with their braces, as ParseBool.
func ParseAssignments(src string) (Assignments, error) { return parse(src, (*Scope).Assignments) }

// ParsePaths compiles paths with their brackets, as ParseBool.
func ParsePaths(src string) (Paths, error) { return parse(src, (*Scope).Paths) }

// MustParseBool is ParseBool for text that is known to be right; it panics otherwise.
func MustParseBool(src string) Bool { return must(ParseBool(src)) }

// MustParseString is ParseString for text that is known to be right; it panics otherwise.
func MustParseString(src string) String { return must(ParseString(src)) }

// MustParseValue is ParseValue for text that is known to be right; it panics otherwise.
func MustParseValue(src string) Value { return must(ParseValue(src)) }

// MustParseMap is ParseMap for text that is known to be right; it panics otherwise.
func MustParseMap(src string) Map { return must(ParseMap(src)) }

// MustParseAssignments is ParseAssignments for text that is known to be right; it panics otherwise.
func MustParseAssignments(src string) Assignments { return must(ParseAssignments(src)) }

// MustParsePaths is ParsePaths for text that is known to be right; it panics otherwise.
func MustParsePaths(src string) Paths { return must(ParsePaths(src)) }

func parse[T any](src string, compile func(*Scope, hcl.Expression) (T, hcl.Diagnostics)) (T, error) {
	var none T
	e, diags := hclsyntax.ParseExpression([]byte(src), "expression", hcl.InitialPos)
	if !diags.HasErrors() {
		compiled, more := compile(NewScope(nil), e)
		if !more.HasErrors() {
			return compiled, nil
		}
		diags = more
	}
	return none, fmt.Errorf("compile expression: %w", diags)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// RefersToMessage reports whether an expression refers to body, msg or error, which are only known
// for each message, and where it does so first.
func RefersToMessage(e hcl.Expression) (hcl.Range, bool) {
	for _, t := range e.Variables() {
		switch t.RootName() {
		case "body", "msg", "error":
			return t.SourceRange(), true
		}
	}
	return hcl.Range{}, false
}

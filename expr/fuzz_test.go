package expr

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/tools/txtar"

	"github.com/pipeamqp/pipe/engine"
)

// FuzzExpression compiles any text in all the ways there are, and evaluates what compiles against any
// body. Nothing panics; a text that does not compile says where; an error of an evaluation is
// permanent and says where; what comes out as JSON is JSON.
func FuzzExpression(f *testing.F) {
	for _, name := range conformanceFiles(f) {
		sections := conformanceSections(f, name)
		for c := range conformanceCases(f, sections) {
			f.Add(c.source, []byte(sections["body"]))
		}
	}
	for _, source := range []string{
		`{body.total = body.total * 2, msg.headers["x"] = body.id, msg.priority = 3}`, `[body.a, body.items[0].sku, msg.headers.x, msg.type]`,
		`[for v in var.list : "${v}${local.limit}"]`, `coalesce(var.none, var.nope[body.a], env("x"))`, `body.a-1 + var.fx_eur`,
		"<<E\n%{ for v in body.items ~}\n${v.sku}\n%{ endfor ~}\nE\n", "<<-E\n    a\n  ${body.id}\n  E\n", `{body = {a = body}}`, `{msg.body = "x"}`,
	} {
		f.Add(source, []byte(`{"a": 1, "id": "x", "total": 1.50, "items": [{"sku": "A"}]}`))
	}
	for args := range corpus(f, "FuzzExpression") {
		f.Add(args[0], []byte(args[1]))
	}
	f.Fuzz(func(t *testing.T, source string, body []byte) {
		if len(source) > 1000 || len(body) > 4000 {
			return
		}
		e, diags := hclsyntax.ParseExpression([]byte(source), "fuzz.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		fuzzValues(t, e, body)
		fuzzEdits(t, e, body)
	})
}

var fuzzStart = startContext()

func fuzzValues(t *testing.T, e hcl.Expression, body []byte) {
	scope := NewScope(fuzzStart)
	if b, diags := scope.Bool(e); located(t, diags) {
		_, err := b.Eval(fuzzMessage(body))
		explained(t, err)
	}
	if s, diags := scope.String(e); located(t, diags) {
		_, err := s.Eval(fuzzMessage(body))
		explained(t, err)
	}
	v, diags := scope.Value(e)
	if !located(t, diags) {
		return
	}
	_, root := RefersToMessage(e)
	m := fuzzMessage(body)
	_, err := v.Eval(m)
	explained(t, err)
	_, err = v.Elements(m)
	explained(t, err)
	out, err := v.AppendJSON(nil, m)
	explained(t, err)
	if err == nil && !json.Valid(out) {
		t.Fatalf("not JSON: %q", out)
	}
	explained(t, Map(v).Each(m, func(string, any) error { return nil }))
	if string(m.Body) != string(body) {
		t.Fatalf("the body changed: %q", m.Body)
	}
	if !root && !callsChanging(e) {
		if again, _ := v.AppendJSON(nil, fuzzMessage([]byte("{}"))); string(again) != string(out) {
			t.Fatalf("an expression that does not refer to the message depends on it: %q, %q", out, again)
		}
	}
}

// callsChanging reports whether an expression calls a function whose result differs from call to call.
func callsChanging(e hcl.Expression) bool {
	for name, f := range functions {
		if f.changes && callsFunction(e, name) {
			return true
		}
	}
	return false
}

func callsFunction(e hcl.Expression, name string) bool {
	found := false
	_ = hclsyntax.VisitAll(e.(hclsyntax.Node), func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && call.Name == name {
			found = true
		}
		return nil
	})
	return found
}

func fuzzEdits(t *testing.T, e hcl.Expression, body []byte) {
	scope := NewScope(fuzzStart)
	if set, diags := scope.Assignments(e); located(t, diags) {
		fuzzEdit(t, NewEdit(set, Paths{}), body)
	}
	if unset, diags := scope.Paths(e); located(t, diags) {
		fuzzEdit(t, NewEdit(Assignments{}, unset), body)
	}
}

// fuzzEdit holds an edit to leaving JSON behind, or to leaving the message alone.
func fuzzEdit(t *testing.T, edit *Edit, body []byte) {
	m := fuzzMessage(body)
	err := edit.Apply(m)
	explained(t, err)
	if err != nil && string(m.Body) != string(body) {
		t.Fatalf("after an error the body is %q", m.Body)
	}
	if edit.raw < 0 && json.Valid(body) && len(m.Body) > 0 && !json.Valid(m.Body) {
		t.Fatalf("not JSON after the edit: %q", m.Body)
	}
}

func fuzzMessage(body []byte) *engine.Message {
	m := engine.NewMessage(body, map[string]any{
		"x": "v", "n": int32(7), "list": []any{int8(1), "a", nil}, "table": map[string]any{"k": []byte{0xff}},
	})
	m.RoutingKey = "order.eu"
	return m
}

// located fails unless every diagnostic says where, and reports whether there is no error.
func located(t *testing.T, diags hcl.Diagnostics) bool {
	t.Helper()
	for _, d := range diags {
		if d.Subject == nil || d.Subject.Filename == "" || d.Subject.Start.Line == 0 || d.Summary == "" || d.Detail == "" {
			t.Fatalf("a diagnostic that does not say where: %+v", d)
		}
	}
	return !diags.HasErrors()
}

// explained fails unless an error says where and is of the right class.
func explained(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *Error
	switch {
	case !errors.As(err, &e):
		t.Fatalf("not an *Error: %v", err)
	case e.Range.Filename == "" || e.Range.Start.Line == 0:
		t.Fatalf("an error that does not say where: %v", err)
	case !engine.IsPermanent(err) || engine.KindOf(err) != engine.KindExpression:
		t.Fatalf("not a permanent error of an expression: %v", err)
	case strings.HasSuffix(e.Error(), kindMissing.String()) || strings.Contains(e.Error(), "%!"):
		t.Fatalf("an unfinished message: %v", err)
	}
}

func conformanceFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conformance files: %v", err)
	}
	return files
}

func conformanceSections(t testing.TB, name string) map[string]string {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, f := range archive.Files {
		sections[f.Name] = string(f.Data)
	}
	return sections
}

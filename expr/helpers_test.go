package expr

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fataler interface {
	Helper()
	Fatal(...any)
}

// parsed returns the syntax tree of an expression.
func parsed(t fataler, source string) hclsyntax.Expression {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(source), "test.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return e
}

func second[T any](_ T, err error) error { return err }

func mustValue(t testing.TB, source string) Value {
	t.Helper()
	v, err := ParseValue(source)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

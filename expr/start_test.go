package expr

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// TestStartValues: what is known at start takes part in expressions like any constant.
func TestStartValues(t *testing.T) {
	for source, want := range map[string]string{
		`body.n * var.fx_eur < 2.77`:                  `true`,
		`"${lower(var.region)}.${body.n}"`:            `"eu.3"`,
		`var.list`:                                    `[1,"b"]`,
		`var.list[1]`:                                 `"b"`,
		`var.list[body.n - 3]`:                        `1`,
		`var["region"]`:                               `"EU"`,
		`[for v in var.set : "${v}${body.n}"]`:        `["a3","b3"]`,
		`var.secret`:                                  `{"x":true,"y":false}`,
		`var.secret.x && body.t`:                      `true`,
		`body.n < local.limit`:                        `true`,
		`env("home")`:                                 `"HOME"`,
		`lower(env("home"))`:                          `"home"`,
		`env(lower("home"))`:                          `"HOME"`,
		`[for var in body.l : var]`:                   `[1,2]`,
		`has(var.region)`:                             `true`,
		`has(var.none)`:                               `true`,
		`has(var.nope)`:                               `false`,
		`has(var.region.x)`:                           `false`,
		`get(var.nope, body.n)`:                       `3`,
		`get(var.none, body.n)`:                       `3`,
		`get(var.nope[body.n].x, "d")`:                `"d"`,
		`coalesce(var.none, var.nope, var.region)`:    `"EU"`,
		`var.none`:                                    `null`,
		`var.none == null`:                            `true`,
		`[for v in var.list : v == "b" ? body.n : 0]`: `[0,3]`,
	} {
		v, diags := NewScope(startContext()).Value(parsed(t, source))
		if len(diags) > 0 {
			t.Errorf("%s: %v", source, diags)
			continue
		}
		if out, err := v.AppendJSON(nil, errorMessage()); err != nil || string(out) != want {
			t.Errorf("%s is %s, %v; want %s", source, out, err, want)
		}
	}
}

// TestFolding: what is known at start is evaluated once, when it is compiled.
func TestFolding(t *testing.T) {
	for source, want := range map[string]bool{
		`1 + 2 * 3`: true, `"a${1}"`: true, `[for v in [1, 2] : v * 2]`: true, `{a = var.region}`: true, `has(var.region)`: true,
		`lower(var.region)`: true, `env("x")`: true, `var.list[*]`: true, `true ? 1 : body.n`: true, `[1, 2][0] == 1 && true`: true,
		`body.n`: false, `now()`: false, `uuid()`: false, `1 + body.n`: false, `[for v in [1] : body.n]`: false, `"${now()}"`: false,
		`[for v in [1] : uuid()]`: false, `has(body.n)`: false, `msg.type`: false,
	} {
		c := &compiler{scope: NewScope(startContext())}
		n := c.top(parsed(t, source))
		if c.diags.HasErrors() || (n.constant != nil) != want {
			t.Errorf("%s: folded %v, want %v (%v)", source, n.constant != nil, want, c.diags)
		}
	}
	first, err := mustValue(t, `uuid()`).Eval(errorMessage())
	second, err2 := mustValue(t, `uuid()`).Eval(errorMessage())
	if first == second || err != nil || err2 != nil {
		t.Errorf("%v and %v, %v, %v", first, second, err, err2)
	}
}

// TestStartFunctionErrors: a mistake is told with the argument that it is in.
func TestStartFunctionErrors(t *testing.T) {
	variables := map[string]cty.Value{"x": cty.EmptyObjectVal, "deep": cty.TupleVal([]cty.Value{cty.NullVal(cty.String)})}
	ctx := &hcl.EvalContext{Functions: StartFunctions(), Variables: variables}
	for source, want := range map[string]string{
		`lower()`:                       `Not enough function arguments`,
		`lower("a", "b")`:               `Too many function arguments`,
		`round(1, 2, 3)`:                `round(n number, digits number?) takes 2 at most, and was given 3`,
		`max()`:                         `max(numbers number...): the argument "numbers" is missing`,
		`lower([])`:                     `Invalid value for "s" parameter: cannot be made a string: it is a list`,
		`round(1.5, 99)`:                `digits is a number from 0 to 30`,
		`join(",", deep)`:               `cannot be made a string: it is null`,
		`jsondecode("{")`:               `not JSON`,
		`coalesce(null, "", x.y)`:       `every value is absent, null or an empty string`,
		`get(x.y)`:                      `Not enough function arguments`,
		`tonumber("1e999")`:             `not a number but a string`,
		`jsondecode("1e999")`:           `the number is out of range`,
		`max(jsondecode("[1e999]")...)`: `the number is out of range`,
		`base64decode("/w==")`:          `the bytes are not UTF-8 text`,
	} {
		_, diags := parsed(t, source).Value(ctx)
		if !diags.HasErrors() || !strings.Contains(diags.Error(), want) {
			t.Errorf("%s: %v, want %s", source, diags, want)
		}
	}
	for source, want := range map[string]cty.Value{
		`has(x.y)`: cty.False, `has(x)`: cty.True, `get(x.y, 1)`: cty.NumberIntVal(1), `get(deep[0], 1)`: cty.NumberIntVal(1),
		`get(deep, 1)`: variables["deep"], `coalesce(x.y, deep[0], "", "z")`: cty.StringVal("z"),
		`jsondecode("{\"a\": [1.5, null, true, \"s\"]}").a`: cty.TupleVal([]cty.Value{
			cty.NumberFloatVal(1.5), cty.NullVal(cty.DynamicPseudoType), cty.True, cty.StringVal("s"),
		}),
		`round(0.1 + 0.2, 2)`: cty.MustParseNumberVal("0.3"),
		`now() > "2020"`:      cty.UnknownVal(cty.Bool), // HCL does not order strings
	} {
		v, diags := parsed(t, source).Value(ctx)
		if want.IsKnown() && (diags.HasErrors() || !v.RawEquals(want)) || !want.IsKnown() && !diags.HasErrors() {
			t.Errorf("%s is %#v, %v; want %#v", source, v, diags, want)
		}
	}
}

// TestFunctionTable holds the table that calls and the reference are made from to being whole.
func TestFunctionTable(t *testing.T) {
	list := Functions()
	if len(list) != len(functions) || len(list) != len(StartFunctions()) {
		t.Errorf("%d functions are listed, %d can be called, %d at start", len(list), len(functions), len(StartFunctions()))
	}
	for i, f := range list {
		if i > 0 && list[i-1].Group == f.Group && list[i-1].Name >= f.Name {
			t.Errorf("%s comes after %s", f.Name, list[i-1].Name)
		}
		if !strings.Contains(f.Example, f.Name+"(") || f.Group == "" {
			t.Errorf("%+v has no example of its own", f)
		}
		if !strings.HasPrefix(f.Signature, f.Name+"(") || !strings.HasSuffix(f.Signature, ")") || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%+v is not described as the others are", f)
		}
	}
	for name, want := range map[string]string{
		"round": "round(n number, digits number?)", "max": "max(numbers number...)", "now": "now()", "get": "get(path path, default any)",
		"merge": "merge(objects object...)", "join": "join(separator string, parts list)",
	} {
		if got := functions[name].signature(); got != want {
			t.Errorf("the signature is %s, not %s", got, want)
		}
	}
}

package expr

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/pipeamqp/pipe/engine"
)

// definingScope has a few functions of a user's.
func definingScope(t *testing.T) *Scope {
	t.Helper()
	scope := NewScope(startContext())
	for _, d := range []struct{ name, params, result string }{
		{"twice", "x", `x * 2`},
		{"quad", "x", `twice(twice(x))`},
		{"tier", "customer", `get(customer.tier, "none")`},
		{"there", "x", `has(x)`},
		{"pairs", "xs ys", `[for x in xs : [for y in ys : "${x}${y}"]]`},
		{"const", "", `var.region`},
		{"pick", "cond a b", `cond ? a : b`},
		{"shadow", "v", `[for x in [1, 2] : x + v]`},
		{"slug", "s", `regexreplace("[^a-z0-9]+", lower(s), "-")`},
		{"label", "v", `"<${v}>"`},
	} {
		definition := Definition{Name: d.name, Params: strings.Fields(d.params), Result: parsed(t, d.result), Range: parsed(t, d.result).Range()}
		if diags := scope.Define(definition); len(diags) > 0 {
			t.Fatal(d.name, diags)
		}
	}
	return scope
}

// TestDefinitions calls functions that a user has defined.
func TestDefinitions(t *testing.T) {
	scope := definingScope(t)
	m := engine.NewMessage([]byte(`{"n": 3, "c": {"tier": "gold"}, "l": [1, 2], "s": "Hello, World", "x": 7}`), map[string]any{"h": "v"})
	for source, want := range map[string]string{
		`twice(body.n)`:           `6`,
		`twice(2) + quad(body.n)`: `16`,
		`tier(body.c)`:            `"gold"`,
		`tier(body.d)`:            `"none"`,
		`tier({tier = body.s})`:   `"Hello, World"`,
		`there(body.n)`:           `true`,
		`there(body.m)`:           `false`,
		`there(msg.headers.h) && !there(msg.headers.i)`:                `true`,
		`pairs(body.l, [for x in body.l : x * 10])`:                    `[["110","120"],["210","220"]]`,
		`pairs([for x in body.l : x], [for y in body.l : y + body.n])`: `[["14","15"],["24","25"]]`,
		`[for x in body.l : pairs([x], [for y in [x] : y])]`:           `[[["11"]],[["22"]]]`,
		`const()`:                                 `"EU"`,
		`pick(body.n > 2, body.s, body.nope)`:     `"Hello, World"`,
		`[for x in body.l : shadow(x)]`:           `[[2,3],[3,4]]`,
		`[for x in body.l : twice(shadow(x)[0])]`: `[4,6]`,
		`slug(body.s)`:                            `"hello-world"`,
		`label(label(body.n))`:                    `"<<3>>"`,
		`shadow(body.x)[1] + shadow(body.n)[0]`:   `13`,
		`twice(body.s)`:                           `error: test.hcl:1,1-2: body.s: not a number but a string`,
		`twice(body.nope)`:                        `error: test.hcl:1,7-16: body.nope: there is no such field`,
		`twice(body.n + 0 > 1 ? "x" : 1)`:         `error: test.hcl:1,1-2: x: not a number but a string`,
	} {
		v, diags := scope.Value(parsed(t, source))
		if len(diags) > 0 {
			t.Errorf("%s: %v", source, diags)
			continue
		}
		out, err := v.AppendJSON(nil, m)
		got := string(out)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestDefinitionMistakes has what is wrong with definitions, and with calls of them.
func TestDefinitionMistakes(t *testing.T) {
	for source, want := range map[string]string{
		`twice()`:        `1,1-8 error: Wrong number of arguments: twice takes 1, [x], and was given 0.`,
		`twice(1, 2)`:    `1,1-12 error: Wrong number of arguments: twice takes 1, [x], and was given 2.`,
		`twice([1]...)`:  `1,1-14 error: Unsupported argument: twice does not take its arguments from a list.`,
		`twise(1)`:       `1,1-6 error: Unknown function: There is no function named "twise". Did you mean "twice"?`,
		`twice("x")`:     `1,1-2 error: Invalid value in expression: Not a number but a string.`,
		`twice(boddy.x)`: `1,7-12 error: Unknown name: There is nothing named "boddy" here. Did you mean "body"?`,
	} {
		_, diags := definingScope(t).Value(parsed(t, source))
		if got := described(diags); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
	const unseen = `error: Not known in a function: A function sees its parameters and variables (var), neither the message nor local values.`
	for _, test := range []struct{ name, params, result, want string }{
		{"lower", "x", `x`, `1,1-2 error: Function that there already is: lower is a function of the language. Give this one another name.`},
		{"twice", "x", `x`, `1,1-2 error: Duplicate name: There already is a function "twice".`},
		{"f", "x", `x + body.n`, `1,5-11 ` + unseen + ` Give f a parameter for body, and pass it where it is called.`},
		{"f", "x", `local.limit`, `1,1-12 ` + unseen + ` Give f a parameter for local, and pass it where it is called.`},
		{"f", "x", `f(x)`, `1,1-2 error: Unknown function: There is no function named "f".`},
		{"f", "x", `y`, `1,1-2 error: Unknown name: There is nothing named "y" here. Did you mean "x"?`},
	} {
		result := parsed(t, test.result)
		diags := definingScope(t).Define(Definition{Name: test.name, Params: []string{test.params}, Result: result, Range: result.Range()})
		if got := described(diags); got != test.want {
			t.Errorf("%s = %s\n got %s\nwant %s", test.name, test.result, got, test.want)
		}
	}
}

// TestDefinitionsThatGrow: calls of calls are counted, before they fill the memory.
func TestDefinitionsThatGrow(t *testing.T) {
	scope := NewScope(nil)
	name, result := "f0", `x + 1`
	var diags hcl.Diagnostics
	for i := 0; i < 40 && !diags.HasErrors(); i++ {
		diags = scope.Define(Definition{Name: name, Params: []string{"x"}, Result: parsed(t, result)})
		result = name + "(x) + " + name + "(x)"
		name += "f"
	}
	if !strings.Contains(described(diags), "Too many calls") {
		t.Error(described(diags))
	}
}

// TestDefinitionsAtStart: HCL's own evaluator calls definitions, too.
func TestDefinitionsAtStart(t *testing.T) {
	scope := definingScope(t)
	ctx := &hcl.EvalContext{Functions: map[string]function.Function{}, Variables: map[string]cty.Value{"c": cty.EmptyObjectVal}}
	for _, name := range []string{"quad", "tier", "pairs", "const"} {
		ctx.Functions[name] = scope.StartFunction(name)
	}
	for source, want := range map[string]string{
		`quad(2) + 1`: `9`, `tier(c)`: `"none"`, `pairs(["a"], [1, 2])`: `[["a1","a2"]]`, `const()`: `"EU"`,
		`quad()`: `error: quad takes 1, [x], and was given 0`, `quad("x")`: `error: x: not a number but a string`,
	} {
		v, diags := parsed(t, source).Value(ctx)
		got := "error: " + described(diags)
		if !diags.HasErrors() {
			got = ctyText(t, v)
		}
		wanted, isError := strings.CutPrefix(want, "error: ")
		if got != want && (!isError || !strings.Contains(got, wanted)) {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
}

package expr

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
)

// deviations are the cases of the conformance files that HCL's own evaluator sees in another way, and
// why.
var deviations = map[string]string{
	`true ? 1 : "x"`:   "the branches of a conditional keep their types",
	`body.t ? 1 : "x"`: "the branches of a conditional keep their types",

	`body.s < "abd"`:                     "strings are ordered",
	`"B" < "a"`:                          "strings are ordered",
	`"10" < "9"`:                         "strings are ordered as strings",
	`0.1 + 0.2`:                          "fractions are float64",
	`body.max + body.f`:                  "fractions are float64",
	`"${body.neg}!"`:                     "zero has no sign",
	`"${body.small}!"`:                   "very small numbers have an exponent",
	`"${body.huge}!"`:                    "very large numbers have an exponent",
	`"${body.inf}!"`:                     "very large numbers have an exponent",
	`body.huge`:                          "this test gives HCL a smaller one",
	`jsonencode(body.list)`:              "JSON is copied as it is written",
	`base64encode(base64decode("/w=="))`: "HCL has no bytes",
	`hexdecode("FF")`:                    "HCL has no bytes",
	`type(tobytes("x"))`:                 "HCL has no bytes",
	`isbytes(tobytes(body.s))`:           "HCL has no bytes",
	`tobytes("é")`:                       "HCL has no bytes",
	`tobytes(tobytes("é"))`:              "HCL has no bytes",
	`tobytes(body.n)`:                    "HCL has no bytes",

	`type(totimestamp(0))`:                                       "HCL has no timestamps",
	`istimestamp(totimestamp("2026-01-02T03:04:05Z"))`:           "HCL has no timestamps",
	`totimestamp(body.t) < totimestamp(body.sec)`:                "HCL has no timestamps",
	`now() > timeadd(now(), "-1h")`:                              "HCL has no timestamps",
	`uuidv7() < uuidv7()`:                                        "strings are ordered",
	`format("%v %v %v %v", body.list, body.nul, body.s, body.n)`: "JSON is copied as it is written",
}

// TestAgainstHCL evaluates every case of the conformance files that has a value, and needs no more of
// a message than its body, with HCL's own evaluator, too, and the functions for it. What HCL gives is
// the same, or the case is one of the deviations.
func TestAgainstHCL(t *testing.T) {
	called := map[string]bool{}
	for _, name := range conformanceFiles(t) {
		sections := conformanceSections(t, name)
		ctx := &hcl.EvalContext{Functions: StartFunctions(), Variables: map[string]cty.Value{"body": ctyBody(t, sections["body"])}}
		for c := range conformanceCases(t, sections) {
			e, ok := comparableCase(t, c)
			if !ok {
				continue
			}
			for name := range ctx.Functions {
				called[name] = called[name] || callsFunction(e, name)
			}
			got := "an error"
			if v, diags := e.Value(ctx); !diags.HasErrors() {
				got = ctyText(t, v)
			}
			same := got != "an error" && sameJSON(t, got, c.want)
			if _, deviates := deviations[c.source]; same == deviates {
				t.Errorf("%s is %s in HCL, and %s here", c.source, got, c.want)
			}
		}
	}
	for name := range StartFunctions() {
		if !called[name] {
			t.Errorf("the conformance files have no case of %s that needs no more than a body", name)
		}
	}
}

func ctyBody(t *testing.T, body string) cty.Value {
	t.Helper()
	body = strings.ReplaceAll(body, "e10000000", "e1000") // it takes HCL minutes
	ty, err := ctyjson.ImpliedType([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	v, err := ctyjson.Unmarshal([]byte(body), ty)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ctyText is a value of HCL's as JSON.
func ctyText(t *testing.T, v cty.Value) string {
	t.Helper()
	if !v.IsWhollyKnown() {
		return `"unknown"`
	}
	text, err := ctyjson.SimpleJSONValue{Value: v}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// comparableCase returns the expression of a case that HCL can evaluate.
func comparableCase(t *testing.T, c conformanceCase) (hcl.Expression, bool) {
	if strings.HasPrefix(c.want, "error: ") || strings.HasPrefix(c.want, "refused: ") {
		return nil, false
	}
	e := parsed(t, c.source)
	for _, v := range e.Variables() {
		if name := v.RootName(); name == "msg" || name == "error" {
			return nil, false
		}
	}
	return e, true
}

// randomPairs is how many messages each random expression is evaluated for.
const randomPairs = 20

// randomBodies are messages whose fields have the same types, and values that differ.
func randomBodies() []string {
	r := rand.New(rand.NewPCG(1, 2))
	number := func() int { return r.IntN(15) - 5 }
	numbers := func(least int) string {
		list := make([]string, least+r.IntN(4))
		for i := range list {
			list[i] = fmt.Sprint(number())
		}
		return strings.Join(list, ", ")
	}
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	bodies := make([]string, randomPairs)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"n": %d, "neg": %d, "half": %s, "zero": %d, "s": "%s", "empty": "", "yes": %v, "no": %v, "nul": null,
	"nums": [%s], "none": [], "words": ["%s", "%s", "x"], "o": {"b": %d, "a": %d, "c": %d}, "items": [{"k": "%s", "n": %d}, {"n": %d, "k": "y"}]}`,
			2+r.IntN(2), number(), pick("2.5", "-0.5", "4", "1.25"), r.IntN(2), pick("Ab c", "x", `ÄB\u00e9`, `\"\\ `, "12"), r.IntN(2) == 0, r.IntN(2) == 0,
			numbers(3), pick("x", "", "bc"), pick("yy", "B c", "1"), number(), number(), number(), pick("x", "k"), number(), number())
	}
	return bodies
}

// writer writes random expressions that have a type and a value. Numbers are such that a float64 holds
// them exactly, and none is the zero with a minus sign that HCL has: adding 0 takes that away.
type writer struct {
	t     *rapid.T
	depth int
	vars  map[string][]string // the variables in scope, by type
	names int
}

func (w *writer) pick(options ...string) string { return rapid.SampledFrom(options).Draw(w.t, "form") }

// write returns an expression of a type.
func (w *writer) write(kind string) string {
	w.depth--
	defer func() { w.depth++ }()
	if w.depth <= 0 {
		return w.leaf(kind)
	}
	if kind != "object" && rapid.IntRange(0, 9).Draw(w.t, "general") == 0 {
		return w.general(kind)
	}
	switch kind {
	case "number":
		return w.number()
	case "bool":
		return w.bool()
	case "string":
		return w.text()
	case "numbers":
		return w.list()
	}
	return w.object()
}

func (w *writer) leaf(kind string) string {
	leaves := map[string][]string{
		"number":  {"0", "1", "7", "0.5", "-2", "body.n", "body.neg", "body.half", "body.items[1].n", "body.nums[2]", "body.o.b"},
		"bool":    {"true", "false", "body.yes", "body.no", "has(body.n)", "has(body.nope)"},
		"string":  {`"x"`, `"B c"`, `""`, "body.s", "body.empty", "body.words[1]", `body.items[0]["k"]`},
		"numbers": {"[]", "[1, 2]", "body.nums", "body.none", "body.items[*].n", "values(body.o)"},
		"object":  {"{}", "{a = 5}", "body.o", "{for k, v in body.o : k => v}"},
	}
	return w.pick(append(leaves[kind], w.vars[kind]...)...)
}

// general is what there is for every type.
func (w *writer) general(kind string) string {
	switch w.pick("if", "parens", "get", "index", "field", "coalesce") {
	case "if":
		choice := fmt.Sprintf("(%s ? %s : %s)", w.write("bool"), w.write(kind), w.write(kind))
		if kind == "numbers" { // HCL gives both branches one type; a for makes a list without one again
			return "[for e in " + choice + " : e]"
		}
		return choice
	case "parens":
		return "(" + w.write(kind) + ")"
	case "get":
		return fmt.Sprintf("get(body.nope.x, %s)", w.write(kind))
	case "index":
		return fmt.Sprintf("[%s, %s][%s]", w.write(kind), w.write(kind), w.pick("0", "1", "body.zero", "body.n - 2"))
	case "field":
		return fmt.Sprintf("{x = %s, y = %s}%s", w.write(kind), w.write("string"), w.pick(".x", `["x"]`, `["${"x"}"]`))
	}
	if kind == "string" {
		return `coalesce(body.nul, body.nope, "", body.s)`
	}
	return fmt.Sprintf("coalesce(body.nul, body.nope, %s)", w.leaf(kind))
}

func (w *writer) number() string {
	switch op := w.pick("+", "-", "*", "/", "%", "neg", "length", "count", "min", "round", "abs", "tonumber"); op {
	case "/":
		return fmt.Sprintf("(%s / %s + 0)", w.write("number"), w.pick("1", "2", "-4", "0.5"))
	case "%":
		return fmt.Sprintf("(%s %% %s + 0)", w.write("number"), w.pick("1", "3", "-4", "0.5"))
	case "neg":
		return fmt.Sprintf("(-%s + 0)", w.write("number"))
	case "length":
		return fmt.Sprintf("length(%s)", w.write("string"))
	case "count":
		return fmt.Sprintf("length(%s)", w.write(w.pick("numbers", "object")))
	case "min":
		return fmt.Sprintf("%s(%s, %s)", w.pick("min", "max"), w.write("number"), w.write("number"))
	case "round":
		return fmt.Sprintf("(%s(%s) + 0)", w.pick("round", "floor", "ceil"), w.write("number"))
	case "abs":
		return fmt.Sprintf("abs(%s)", w.write("number"))
	case "tonumber":
		return fmt.Sprintf(`tonumber("${%s}")`, w.leaf("number"))
	default:
		return fmt.Sprintf("(%s %s %s + 0)", w.write("number"), op, w.write("number"))
	}
}

func (w *writer) bool() string {
	switch w.pick("order", "equal", "different", "and", "not", "contains", "starts", "null") {
	case "order":
		return fmt.Sprintf("(%s %s %s)", w.write("number"), w.pick("<", "<=", ">", ">="), w.write("number"))
	case "equal":
		kind := w.pick("number", "bool", "string", "numbers")
		return fmt.Sprintf("(%s %s %s)", w.write(kind), w.pick("==", "!="), w.write(kind))
	case "different":
		return fmt.Sprintf("(%s == %s)", w.write(w.pick("number", "bool")), w.write("string"))
	case "and":
		return fmt.Sprintf("(%s %s %s)", w.write("bool"), w.pick("&&", "||"), w.write("bool"))
	case "not":
		return "!" + w.write("bool")
	case "contains":
		return fmt.Sprintf("contains(%s, %s)", w.write("numbers"), w.write("number"))
	case "starts":
		return fmt.Sprintf("%s(%s, %s)", w.pick("startswith", "endswith", "strcontains"), w.write("string"), w.write("string"))
	}
	return fmt.Sprintf("(%s %s null)", w.write(w.pick("number", "string", "numbers")), w.pick("==", "!="))
}

func (w *writer) text() string {
	switch w.pick("template", "case", "directive", "loop", "join", "replace", "trim", "tostring", "substr", "json") {
	case "template":
		return fmt.Sprintf(`"<${%s}|${%s}$${>"`, w.write(w.pick("number", "bool", "string")), w.write("string"))
	case "case":
		return fmt.Sprintf("%s(%s)", w.pick("lower", "upper", "trimspace"), w.write("string"))
	case "directive":
		return fmt.Sprintf(`"%%{ if %s }a${%s}%%{ else ~} b %%{ endif }."`, w.write("bool"), w.write("string"))
	case "loop":
		list := w.write("numbers")
		name, leave := w.bind("number")
		defer leave()
		return fmt.Sprintf(`"%%{ for %s in %s }[${%s}]%%{ endfor }."`, name, list, w.write(w.pick("number", "string")))
	case "join":
		return fmt.Sprintf("join(%s, %s)", w.write("string"), w.write("numbers"))
	case "replace":
		return fmt.Sprintf("replace(%s, %s, %s)", w.write("string"), w.pick(`"x"`, `"b"`, `" "`), w.leaf("string"))
	case "trim":
		return fmt.Sprintf("%s(%s, %s)", w.pick("trim", "trimprefix", "trimsuffix"), w.write("string"), w.leaf("string"))
	case "tostring":
		return fmt.Sprintf("tostring(%s)", w.write(w.pick("number", "bool", "string")))
	case "substr":
		return fmt.Sprintf("substr(%s, %s, %s)", w.write("string"), w.pick("0", "1", "-2"), w.pick("0", "2", "-1"))
	}
	return fmt.Sprintf("jsonencode([%s, %s])", w.pick("body.n", "true", "[]"), w.write("string"))
}

func (w *writer) list() string {
	switch w.pick("tuple", "for", "for object", "splat", "concat", "values") {
	case "tuple":
		return fmt.Sprintf("[%s, %s]", w.write("number"), w.write("number"))
	case "for":
		return w.loop(w.write("numbers"), "number", "[", "%s", "]")
	case "for object":
		return w.loop(w.write("object"), "string", "[", "%s", "]")
	case "splat":
		return fmt.Sprintf("[{n = %s}, {n = %s}]%s", w.write("number"), w.write("number"), w.pick("[*].n", ".*.n", `[*]["n"]`))
	case "concat":
		return fmt.Sprintf("concat(%s, %s)", w.write("numbers"), w.write("numbers"))
	}
	return fmt.Sprintf("values(%s)", w.write("object"))
}

func (w *writer) object() string {
	switch w.pick("cons", "for", "group", "merge") {
	case "cons":
		return fmt.Sprintf(`{a = %s, ("${%s}b") = %s}`, w.write("number"), w.write("string"), w.write("number"))
	case "for":
		return w.loop(w.write("object"), "string", "{", "key => %s", "}")
	case "group":
		return fmt.Sprintf("{for k, v in %s : k => length(v)}", w.loop(w.write("numbers"), "number", "{", `"${%s}" => 1...`, "}"))
	}
	return fmt.Sprintf("merge(%s, %s)", w.write("object"), w.write("object"))
}

// loop writes a for expression over a list or object of numbers.
func (w *writer) loop(collection, keyType, open, result, closing string) string {
	key, leaveKey := w.bind(keyType)
	item, leaveItem := w.bind("number")
	defer leaveKey()
	defer leaveItem()
	condition := ""
	if rapid.Bool().Draw(w.t, "if") {
		condition = " if " + w.write("bool")
	}
	result = fmt.Sprintf(strings.ReplaceAll(result, "key", key), "%s")
	body := strings.Replace(result, "%s", w.write("number"), 1)
	return fmt.Sprintf("%sfor %s, %s in %s : %s%s%s", open, key, item, collection, body, condition, closing)
}

// bind makes a variable of a type.
func (w *writer) bind(kind string) (name string, leave func()) {
	w.names++
	name = fmt.Sprintf("v%d", w.names)
	before := w.vars[kind]
	w.vars[kind] = append(before[:len(before):len(before)], name)
	return name, func() { w.vars[kind] = before }
}

// TestRandomAgainstHCL evaluates random expressions for 20 messages each, here and with HCL's own
// evaluator: the value is the same, or both find that there is none. make differential does it for a
// million pairs, and -rapid.checks=N for N expressions.
func TestRandomAgainstHCL(t *testing.T) {
	bodies := randomBodies()
	contexts, messages := make([]*hcl.EvalContext, len(bodies)), make([]*engine.Message, len(bodies))
	functions := StartFunctions()
	for i, body := range bodies {
		contexts[i] = &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"body": ctyBody(t, body)}}
		messages[i] = engine.NewMessage([]byte(body), nil)
	}
	pairs, values := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := &writer{t: rt, depth: 5, vars: map[string][]string{}}
		source := w.write(w.pick("number", "bool", "string", "numbers", "object"))
		e := parsed(rt, source)
		v, diags := NewScope(nil).Value(e)
		for i := range messages {
			want := "no value"
			if v, diags := e.Value(contexts[i]); !diags.HasErrors() {
				want = ctyText(t, v)
			}
			got := "no value"
			if !diags.HasErrors() {
				if text, err := v.AppendJSON(nil, messages[i]); err == nil {
					got = string(text)
				}
			}
			if got != want && (got == "no value" || want == "no value" || !sameJSON(rt, got, want)) {
				rt.Fatalf("%s is %s here, and %s in HCL (%v), for %s", source, got, want, diags, bodies[i])
			}
			pairs++
			if want != "no value" {
				values++
			}
		}
	})
	t.Logf("%d pairs of an expression and a message, of which %d have a value", pairs, values)
}

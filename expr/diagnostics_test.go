package expr

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// startContext is what a configuration knows at start.
func startContext() *hcl.EvalContext {
	capsule := cty.Capsule("a queue", reflect.TypeFor[int]())
	parent := &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var": cty.ObjectVal(map[string]cty.Value{
				"fx_eur":  cty.MustParseNumberVal("0.92"),
				"region":  cty.StringVal("EU"),
				"none":    cty.NullVal(cty.String),
				"list":    cty.TupleVal([]cty.Value{cty.NumberIntVal(1), cty.StringVal("b")}),
				"set":     cty.SetVal([]cty.Value{cty.StringVal("b"), cty.StringVal("a")}),
				"secret":  cty.MapVal(map[string]cty.Value{"x": cty.True.Mark("secret"), "y": cty.False}).Mark("secret"),
				"huge":    cty.MustParseNumberVal("1e400"),
				"unknown": cty.UnknownVal(cty.String),
				"set_of":  cty.SetVal([]cty.Value{cty.UnknownVal(cty.String)}),
				"deep":    cty.ObjectVal(map[string]cty.Value{"a": cty.TupleVal([]cty.Value{cty.UnknownVal(cty.Bool)})}),
				"queue":   cty.CapsuleVal(capsule, new(int)),
			}),
		},
		Functions: StartFunctions(),
	}
	parent.Functions["env"] = stdlib.UpperFunc
	child := parent.NewChild()
	child.Variables = map[string]cty.Value{"local": cty.ObjectVal(map[string]cty.Value{"limit": cty.NumberIntVal(10)})}
	return child
}

// described is how a test writes diagnostics.
func described(diags hcl.Diagnostics) string {
	var lines []string
	for _, d := range diags {
		severity := "error"
		if d.Severity == hcl.DiagWarning {
			severity = "warning"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s: %s", strings.TrimPrefix(d.Subject.String(), "test.hcl:"), severity, d.Summary, d.Detail))
	}
	return strings.Join(lines, "\n")
}

// TestDiagnostics has every mistake that is found before there is a message, each told once and where
// it is.
func TestDiagnostics(t *testing.T) {
	for source, want := range map[string]string{
		`boddy.x`:                       `1,1-6 error: Unknown name: There is nothing named "boddy" here. Did you mean "body"?`,
		`lokal.limit`:                   `1,1-6 error: Unknown name: There is nothing named "lokal" here. Did you mean "local"?`,
		`x`:                             `1,1-2 error: Unknown name: There is nothing named "x" here. The message is body, for what is in it, and msg, for its headers and properties.`,
		`[for item in body.l : itm.x]`:  `1,23-26 error: Unknown name: There is nothing named "itm" here. Did you mean "item"?`,
		`var.fx_eu`:                     `1,4-10 error: Unknown name: var has nothing named "fx_eu". Did you mean "fx_eur"?`,
		`var.region.x`:                  `1,11-13 error: Unsupported attribute: Can't access attributes on a primitive-typed value (string).`,
		`var.list[5]`:                   `1,9-12 error: Invalid index: The given key does not identify an element in this collection value.`,
		`var["regoin"]`:                 `1,4-14 error: Invalid index: The given key does not identify an element in this collection value.`,
		`var.deep.a[0]`:                 `1,1-14 error: Unsuitable value: The value is not known at start.`,
		`var.unknown`:                   `1,1-12 error: Unsuitable value: The value is not known at start.`,
		`var.set_of`:                    `1,1-11 error: Unsuitable value: The value is not known at start.`,
		`var.queue`:                     `1,1-10 error: Unsuitable value: A queue cannot be used in an expression.`,
		`var.huge`:                      `1,1-9 error: Unsuitable value: The number is out of range.`,
		`var.huge + 1`:                  `1,1-9 error: Unsuitable value: The number is out of range.`,
		`var.deep`:                      `1,1-9 error: Unsuitable value: The value is not known at start.`,
		`msg.rooting_key`:               `1,4-16 error: Unknown attribute: msg has no attribute "rooting_key". Did you mean "routing_key"?`,
		`error.knd`:                     `1,6-10 error: Unknown attribute: error has no attribute "knd". Did you mean "kind"?`,
		`msg["hedders"].x`:              `1,4-15 error: Unknown attribute: msg has no attribute "hedders". Did you mean "headers"?`,
		`msg`:                           `1,1-4 error: Not a value: msg is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`(msg).type`:                    `1,2-5 error: Not a value: msg is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`[for h in msg : h]`:            `1,11-14 error: Not a value: msg is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`error`:                         `1,1-6 error: Not a value: error is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`error[body.k]`:                 `1,1-6 error: Not a value: error is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`has(error[body.k])`:            `1,10-18 error: Invalid index: An attribute of error is named in the file, as error.message.`,
		`has(msg)`:                      `1,5-8 error: Not a value: msg is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`msg.headers[null]`:             `1,12-18 error: Invalid index: An index is a string or a whole number.`,
		`body[null]`:                    `1,5-11 error: Invalid index: An index is a string or a whole number.`,
		`body[true]`:                    `1,5-11 error: Invalid index: An index is a string or a whole number.`,
		`body[[1]]`:                     `1,5-10 error: Invalid index: An index is a string or a whole number, not a list.`,
		`body[1 == 1]`:                  `1,5-13 error: Invalid index: An index is a string or a whole number, not a bool.`,
		`lowr("x")`:                     `1,1-5 error: Unknown function: There is no function named "lowr". Did you mean "lower"?`,
		`quux_zz(1)`:                    `1,1-8 error: Unknown function: There is no function named "quux_zz".`,
		`envv("x")`:                     `1,1-5 error: Unknown function: There is no function named "envv". Did you mean "env"?`,
		`env(body.x)`:                   `1,1-12 error: Only known per message: env is called once, at start: its arguments cannot refer to a message.`,
		`[for v in [1] : env(v)]`:       `1,17-23 error: Only known per message: env is called once, at start: its arguments cannot refer to a message.`,
		`env(1, 2)`:                     `1,8-9 error: Too many function arguments: Function "env" expects only 1 argument(s).`,
		`env(boddy)`:                    `1,5-10 error: Unknown name: There is nothing named "boddy" here. Did you mean "body"?`,
		`lower()`:                       `1,1-8 error: Wrong number of arguments: lower(s string): the argument "s" is missing.`,
		`lower(1, 2)`:                   `1,1-12 error: Wrong number of arguments: lower(s string) takes 1 at most, and was given 2.`,
		`substr("a", 1)`:                `1,1-15 error: Wrong number of arguments: substr(s string, offset number, length number): the argument "length" is missing.`,
		`max()`:                         `1,1-6 error: Wrong number of arguments: max(numbers number...): the argument "numbers" is missing.`,
		`get(body.x)`:                   `1,1-12 error: Wrong number of arguments: get(path path, default any): the argument "default" is missing.`,
		`has()`:                         `1,1-6 error: Wrong number of arguments: has(path path): the argument "path" is missing.`,
		`has(body.a, body.b)`:           `1,1-20 error: Wrong number of arguments: has(path path) takes 1 at most, and was given 2.`,
		`has(body.l...)`:                `1,1-15 error: Unsupported argument: has does not take its arguments from a list.`,
		`coalesce(body.l...)`:           `1,1-20 error: Unsupported argument: coalesce does not take its arguments from a list.`,
		`has(1 + 1)`:                    `1,5-10 error: Not a path: has looks at a path, as body.customer.tier or msg.headers["x"].`,
		`get(lower("x"), 1)`:            `1,5-15 error: Not a path: get looks at a path, as body.customer.tier or msg.headers["x"].`,
		`{body.k = 1}`:                  `1,2-8 error: Ambiguous attribute key: Put a reference that is meant to be evaluated in parentheses, and a name that has dots in it in quotes.`,
		`body.total-1`:                  `1,5-13 warning: A name that looks like a subtraction: This reads the field "total-1": a name may contain a minus sign. To subtract, put spaces around it: body.total - 1. For the field, write ["total-1"].`,
		`body.total-body.tax`:           `1,5-16 warning: A name that looks like a subtraction: This reads the field "total-body": a name may contain a minus sign. To subtract, put spaces around it: body.total - body. For the field, write ["total-body"].`,
		`body.total-x`:                  ``,
		`body["total-1"]`:               ``,
		`[for v in body.l : body.x-v]`:  `1,24-28 warning: A name that looks like a subtraction: This reads the field "x-v": a name may contain a minus sign. To subtract, put spaces around it: body.x - v. For the field, write ["x-v"].`,
		`body.a.sub-total`:              ``,
		`msg.headers.x-1`:               ``,
		`body.l[0].x-2`:                 `1,10-14 warning: A name that looks like a subtraction: This reads the field "x-2": a name may contain a minus sign. To subtract, put spaces around it: body.l[0].x - 2. For the field, write ["x-2"].`,
		`1 / 0`:                         `1,1-6 error: Invalid value in expression: Division by zero.`,
		`1 + "x"`:                       `1,5-8 error: Invalid value in expression: Not a number but a string.`,
		`"x" && true`:                   `1,1-4 error: Invalid value in expression: Not true or false but a string.`,
		`body.t && "x"`:                 ``,
		`!1`:                            `1,2-3 error: Invalid value in expression: Not true or false but a number.`,
		`-"x"`:                          `1,2-5 error: Invalid value in expression: Not a number but a string.`,
		`null + 1`:                      `1,1-5 error: Invalid value in expression: Not a number but null.`,
		`1 < "x"`:                       `1,5-8 error: Invalid value in expression: Not a number but a string.`,
		`[1][5]`:                        `1,1-7 error: Invalid value in expression: The list has no such element.`,
		`{a = 1}.b`:                     `1,1-10 error: Invalid value in expression: There is no such field.`,
		`"${[]}x"`:                      `1,4-6 error: Invalid value in expression: Cannot be made a string: it is a list.`,
		`upper([])`:                     `1,7-9 error: Invalid value in expression: Cannot be made a string: it is a list.`,
		`round(1, 40)`:                  `1,10-12 error: Invalid value in expression: Digits is a number from 0 to 30.`,
		`matches("(", body.s)`:          "1,9-12 error: Invalid value in expression: Not a regular expression: error parsing regexp: missing closing ): `(`.",
		`jsondecode("{")`:               `1,12-15 error: Invalid value in expression: Not JSON: it ends at byte 1, where a key in quotes is expected.`,
		`[for v in 5 : v]`:              `1,11-12 error: Invalid value in expression: Not a list or an object but a number.`,
		`{for v in [1, 1] : v => v}`:    `1,20-21 error: Invalid value in expression: v: two elements have the same key: write ... after the value to group them.`,
		`9223372036854775807 + 1`:       `1,1-24 error: Invalid value in expression: The result does not fit a 64-bit integer.`,
		`1e400`:                         `1,1-6 error: Unsuitable value: The number is out of range.`,
		`1 + "x" + (2 + "y") + boddy`:   "1,5-8 error: Invalid value in expression: Not a number but a string.\n1,16-19 error: Invalid value in expression: Not a number but a string.\n1,23-28 error: Unknown name: There is nothing named \"boddy\" here. Did you mean \"body\"?",
		`lower(ZIP) == ZAP`:             "1,7-10 error: Unknown name: There is nothing named \"ZIP\" here. The message is body, for what is in it, and msg, for its headers and properties.\n1,15-18 error: Unknown name: There is nothing named \"ZAP\" here. The message is body, for what is in it, and msg, for its headers and properties.",
		`coalesce(var.nope, 1)`:         ``,
		`coalesce(var.nope + 1, 1)`:     `1,13-18 error: Unknown name: var has nothing named "nope". Did you mean "none"?`,
		`has(var.nope.x)`:               ``,
		`has(nope.x)`:                   `1,5-9 error: Unknown name: There is nothing named "nope" here. The message is body, for what is in it, and msg, for its headers and properties.`,
		`get(var.nope[body.k], 1)`:      ``,
		`has(body[var.nope])`:           `1,13-18 error: Unknown name: var has nothing named "nope". Did you mean "none"?`,
		`[var.nope]`:                    `1,5-10 error: Unknown name: var has nothing named "nope". Did you mean "none"?`,
		`coalesce([var.nope], 1)`:       `1,14-19 error: Unknown name: var has nothing named "nope". Did you mean "none"?`,
		`body.t ? 1 / 0 : 1`:            ``,
		`false && 1 / 0 == 1`:           ``,
		`true ? 1 : boddy`:              `1,1-5 warning: A condition that never changes: This is true for every message.` + "\n" + `1,12-17 error: Unknown name: There is nothing named "boddy" here. Did you mean "body"?`,
		`max([]...)`:                    `1,1-11 error: Invalid value in expression: Cannot be called: max(numbers number...): the argument "numbers" is missing.`,
		`max([1, "x"]...)`:              `1,5-13 error: Invalid value in expression: Not a number but a string.`,
		`join(",", [{}])`:               `1,11-15 error: Invalid value in expression: Cannot be made a string: it is an object.`,
		`element([], 0)`:                `1,9-11 error: Invalid value in expression: The list is empty.`,
		`element([1], -1)`:              `1,14-16 error: Invalid value in expression: An index is not negative.`,
		`tonumber("x")`:                 `1,10-13 error: Invalid value in expression: Not a number but a string.`,
		`tobool(5)`:                     `1,8-9 error: Invalid value in expression: Not true or false but a number.`,
		`base64decode("?")`:             `1,14-17 error: Invalid value in expression: Not base64: illegal base64 data at input byte 0.`,
		`length(5)`:                     `1,8-9 error: Invalid value in expression: Has no length: it is a number.`,
		`contains(5, 5)`:                `1,10-11 error: Invalid value in expression: Not a list but a number.`,
		`keys([])`:                      `1,6-8 error: Invalid value in expression: Not an object but a list.`,
		`merge([])`:                     `1,7-9 error: Invalid value in expression: Not an object but a list.`,
		`substr("x", 0.5, 1)`:           `1,13-16 error: Invalid value in expression: Not a whole number.`,
		`coalesce(null, "")`:            `1,1-19 error: Invalid value in expression: Every value is absent, null or an empty string.`,
		`abs(-9223372036854775807 - 1)`: `1,1-30 error: Invalid value in expression: The result does not fit a 64-bit integer.`,
		`sha256([])`:                    `1,8-10 error: Invalid value in expression: Cannot be made a string: it is a list.`,
		`{(null) = 1}`:                  `1,3-7 error: Invalid value in expression: Cannot be made a string: it is null.`,
	} {
		t.Run(source, func(t *testing.T) {
			_, diags := NewScope(startContext()).Value(parsed(t, source))
			located(t, diags)
			if got := described(diags); got != want {
				t.Errorf("%s\n got %s\nwant %s", source, got, want)
			}
		})
	}
}

// TestUnchangingConditions: a condition that is the same for every message is told of, once, unless a variable decides it.
func TestUnchangingConditions(t *testing.T) {
	for source, want := range map[string]string{
		`true`:                                 ``,
		`false`:                                ``,
		`1 == 1`:                               `1,1-7 warning: A condition that never changes: This is true for every message.`,
		`"paid" == "sent"`:                     `1,1-17 warning: A condition that never changes: This is false for every message.`,
		`!(1 > 2) || 2 < 1`:                    `1,1-18 warning: A condition that never changes: This is true for every message.`,
		`body.x == 1 || true`:                  `1,16-20 warning: A condition that never changes: This is true for every message.`,
		`false && body.x == 1`:                 `1,1-6 warning: A condition that never changes: This is false for every message.`,
		`body.a && !(1 > 2)`:                   `1,11-19 warning: A condition that never changes: This is true for every message.`,
		`1 > 2 ? body.a : body.b`:              `1,1-6 warning: A condition that never changes: This is false for every message.`,
		`[for v in body.l : v if 1 < 2]`:       `1,25-30 warning: A condition that never changes: This is true for every message.`,
		`alltrue([1 == 1])`:                    `1,1-18 warning: A condition that never changes: This is true for every message.`,
		`var.region == "EU"`:                   ``,
		`var.region == "EU" ? 1 == 1 : body.x`: ``,
		`var.region == "EU" && body.x`:         ``,
		`env("x") == "X" || body.x`:            ``,
		`body.x == 1`:                          ``,
		`uuid() == "x"`:                        ``,
		`"yes"`:                                `1,1-6 error: Invalid value in expression: Not true or false but a string.`,
	} {
		_, diags := NewScope(startContext()).Bool(parsed(t, source))
		if got := described(diags); got != want {
			t.Errorf("%s:\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestUnchangingDecisions: where a value is made, a condition in it decides too; what is only true or false does not.
func TestUnchangingDecisions(t *testing.T) {
	for source, want := range map[string]string{
		`1 > 2 ? body.a : body.b`:                      `1,1-6 warning: A condition that never changes: This is false for every message.`,
		`true ? body.a : body.b`:                       `1,1-5 warning: A condition that never changes: This is true for every message.`,
		`{a = body.x || 1 > 2 ? 1 : 2}`:                `1,16-21 warning: A condition that never changes: This is false for every message.`,
		`[for v in body.l : v if 1 < 2]`:               `1,25-30 warning: A condition that never changes: This is true for every message.`,
		`"%{ if 1 < 2 }${body.a}%{ endif }"`:           `1,8-13 warning: A condition that never changes: This is true for every message.`,
		`var.region == "EU" ? body.a : body.b`:         ``,
		`{a = body.x || true, b = !(1 > 2)}`:           ``,
		`[for v in body.l : {late = 1 < 2} if v.late]`: ``,
		`body.x ? 1 < 2 : false`:                       ``,
	} {
		_, diags := NewScope(startContext()).Value(parsed(t, source))
		if got := described(diags); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestTargetDiagnostics has every mistake in what is assigned and removed.
func TestTargetDiagnostics(t *testing.T) {
	const place = `Not a place in the message: This is where a value goes: body.field, msg.headers["name"], msg.routing_key or a property such as msg.priority.`
	long := strings.Repeat("x", 256)
	for source, want := range map[string]string{
		`{body.a = 1, body.a = 2}`:                  `1,14-20 error: Assigned twice: body.a is already assigned by body.a in line 1.`,
		"{body.a = 1\nbody.b = 2\nbody.a.c = 3}":    `3,1-9 error: Assigned twice: body.a.c is already assigned by body.a in line 1.`,
		`{body.a[0] = 1, body.a = 2}`:               `1,17-23 error: Assigned twice: body.a is already assigned by body.a[0] in line 1.`,
		`{body = 1, msg.body = 2}`:                  `1,12-20 error: Assigned twice: msg.body is already assigned by body in line 1.`,
		`{msg.body = 1, body.a = 2}`:                `1,16-22 error: Assigned twice: body.a is already assigned by msg.body in line 1.`,
		`{msg.type = 1, msg.type = 2}`:              `1,16-24 error: Assigned twice: msg.type is already assigned by msg.type in line 1.`,
		`{msg.headers.x = 1, msg.headers["x"] = 2}`: `1,21-37 error: Assigned twice: msg.headers["x"] is already assigned by msg.headers.x in line 1.`,
		`{msg.headers.x = 1, msg.headers.y = 2, body.a = 1, body.ab = 2, body["a b"] = 3}`: ``,
		`{msg.exchange = 1}`: `1,2-14 error: Cannot be changed: msg.exchange says where the message came from; a sink decides where it goes.`,
		`{msg.redelivered = true, msg.delivery_count = 2}`: "1,2-17 error: Cannot be changed: msg.redelivered says where the message came from; a sink decides where it goes.\n" +
			`1,26-44 error: Cannot be changed: msg.delivery_count says where the message came from; a sink decides where it goes.`,
		`{msg.headers = {}}`:                `1,2-13 error: Not a single header: Name the header, as msg.headers["x-tier"].`,
		`{msg.headers.x.y = 1}`:             `1,2-17 error: Not a whole header: What is inside a header or property cannot be changed on its own: assign all of it.`,
		`{msg.type.x = 1}`:                  `1,2-12 error: Not a whole header: What is inside a header or property cannot be changed on its own: assign all of it.`,
		`{msg.headers["` + long + `"] = 1}`: `1,2-273 error: Name too long: The name of a header has 255 bytes at most.`,
		`{error.message = 1}`:               `1,2-15 error: ` + place,
		`{var.fx_eur = 1}`:                  `1,2-12 error: ` + place,
		`{"body.a" = 1}`:                    `1,2-10 error: ` + place,
		`{"${body.a}" = 1}`:                 `1,2-13 error: ` + place,
		`{(body.a) = 1}`:                    `1,2-10 error: ` + place,
		`{5 = 1}`:                           `1,2-3 error: ` + place,
		`{body.a[*] = 1}`:                   `1,2-11 error: ` + place,
		`{body[body.k] = 1}`:                `1,2-14 error: ` + place,
		`{msg.headers[body.k] = 1}`:         `1,2-21 error: ` + place,
		`{lower("x") = 1}`:                  `1,2-12 error: ` + place,
		`{total = 1}`:                       `1,2-7 error: Unknown name: There is nothing named "total" here. Did you mean "local"?`,
		`{msg = 1}`:                         `1,2-5 error: Not a value: msg is not a value, only its attributes are, as msg.routing_key or error.message.`,
		`{msg.typ = 1}`:                     `1,5-9 error: Unknown attribute: msg has no attribute "typ". Did you mean "type"?`,
		`{body.a = zzz.q, body.b = 1 / 0}`: "1,11-14 error: Unknown name: There is nothing named \"zzz\" here. The message is body, for what is in it, and msg, for its headers and properties.\n" +
			`1,27-32 error: Invalid value in expression: Division by zero.`,
		`[body.a]`: `1,1-9 error: Not assignments: What is set is written in braces, as { body.total = 1, msg.headers["x"] = body.id }.`,
		`body`:     `1,1-5 error: Not assignments: What is set is written in braces, as { body.total = 1, msg.headers["x"] = body.id }.`,
	} {
		_, diags := NewScope(startContext()).Assignments(parsed(t, source))
		located(t, diags)
		if got := described(diags); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
	for source, want := range map[string]string{
		`[body]`:                                 `1,2-6 error: The body cannot be removed: A message always has a body. Assign msg.body = "" for an empty one.`,
		`[body.a, body.a, body.a.b]`:             ``,
		`[msg.body, msg.headers["x"], msg.type]`: ``,
		`[msg.exchange]`:                         `1,2-14 error: Cannot be changed: msg.exchange says where the message came from; a sink decides where it goes.`,
		`["body.a"]`:                             `1,2-10 error: ` + place,
		`[1, boddy]`:                             "1,2-3 error: " + place + "\n" + `1,5-10 error: Unknown name: There is nothing named "boddy" here. Did you mean "body"?`,
		`body.a`:                                 `1,1-7 error: Not a list of places: What is removed is written in brackets, as [body.note, msg.headers["x"]].`,
		`{body.a = 1}`:                           `1,1-13 error: Not a list of places: What is removed is written in brackets, as [body.note, msg.headers["x"]].`,
	} {
		_, diags := NewScope(startContext()).Paths(parsed(t, source))
		located(t, diags)
		if got := described(diags); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestOtherSyntax: HCL's JSON syntax is good for values that are known, and refused for others; so is
// an expression of a kind that is not HCL's.
func TestOtherSyntax(t *testing.T) {
	for source, want := range map[string]string{
		`{"x": 5}`:               ``,
		`{"x": {"a": [true]}}`:   ``,
		`{"x": "${body.total}"}`: `1,7-22 error: Unsupported syntax: Expressions about messages are written in HCL's native syntax.`,
	} {
		file, diags := hcljson.Parse([]byte(source), "test.hcl")
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		attributes, _ := file.Body.JustAttributes()
		v, diags := NewScope(nil).Value(attributes["x"].Expr)
		if got := described(diags); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
		if want != "" {
			continue
		}
		if out, err := v.AppendJSON(nil, errorMessage()); err != nil || !strings.Contains(strings.ReplaceAll(source, " ", ""), string(out)) {
			t.Errorf("%s is %s, %v", source, out, err)
		}
	}
	static := hcl.StaticExpr(cty.ListVal([]cty.Value{cty.StringVal("a")}), hcl.Range{Filename: "test.hcl", Start: hcl.InitialPos, End: hcl.InitialPos})
	if v, diags := NewScope(nil).Value(static); diags.HasErrors() {
		t.Error(diags)
	} else if out, err := v.AppendJSON(nil, errorMessage()); string(out) != `["a"]` || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	if _, diags := NewScope(nil).Assignments(static); !diags.HasErrors() {
		t.Error("assignments of a static value compile")
	}
	item := &hclsyntax.AnonSymbolExpr{SrcRange: static.Range()}
	if _, diags := NewScope(nil).Value(item); !strings.HasSuffix(described(diags), "error: Invalid expression: An item is only known inside its splat.") {
		t.Error(described(diags))
	}
}

// TestRefersToMessage finds the first reference to a message, and none where a variable of the
// expression's own has the name.
func TestRefersToMessage(t *testing.T) {
	for source, want := range map[string]string{
		`var.fx_eur + body.total`:               `test.hcl:1,14-24`,
		`"${msg.type}"`:                         `test.hcl:1,4-12`,
		`[for v in var.list : error.kind]`:      `test.hcl:1,22-32`,
		`{for body in var.list : body => body}`: ``,
		`var.body + lower("msg")`:               ``,
		`{body = 1}`:                            ``,
		`1`:                                     ``,
	} {
		r, refers := RefersToMessage(parsed(t, source))
		got := ""
		if refers {
			got = r.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

package expr

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
)

const errorBody = `{"t": true, "n": 3, "big": 9223372036854775807, "f": 1.5, "huge": 1e400, "s": "abc", "null": null, "l": [1, 2], "none": [],
	"o": {"k": {"deep": "x"}}, "same": ["x", "x"], "a b": {}, "esc\"aped": 1}`

func errorMessage() *engine.Message {
	return engine.NewMessage([]byte(errorBody), map[string]any{
		"bytes": []byte{0xff}, "nan": math.NaN(), "inf": float32(math.Inf(1)), "when": time.Unix(0, 0), "o": map[string]any{"k": int8(1)},
	})
}

// TestErrors has every error that an evaluation can end in, with its whole text: where in the file,
// which path, and what is wrong with it.
func TestErrors(t *testing.T) {
	for source, want := range map[string]string{
		// What is not there.
		`body.x`:                      `1,1-7: body.x: there is no such field`,
		`1 + body.x`:                  `1,5-11: body.x: there is no such field`,
		`body.x.y.z`:                  `1,1-11: body.x: there is no such field`,
		`body.o.k.x`:                  `1,1-11: body.o.k.x: there is no such field`,
		`body.o["k"].deep.er`:         `1,1-20: body.o.k.deep: not an object but a string`,
		`body["a b"].x`:               `1,1-14: body["a b"].x: there is no such field`,
		`body["esc\"aped"].x`:         `1,1-20: body["esc\"aped"]: not an object but a number`,
		`body.n.x`:                    `1,1-9: body.n: not an object but a number`,
		`body.n[0]`:                   `1,1-10: body.n: not a list or an object but a number`,
		`body.null.x`:                 `1,1-12: body.null: not an object but null`,
		`body.l.x`:                    `1,1-9: body.l: not an object but a list`,
		`body.l[2]`:                   `1,1-10: body.l[2]: the list has no such element`,
		`body.l[-1]`:                  `1,1-11: body.l[-1]: the list has no such element`,
		`body.l[body.n]`:              `1,1-15: body.l[3]: the list has no such element`,
		`body.o[body.s]`:              `1,1-15: body.o.abc: there is no such field`,
		`body.o[body.l]`:              `1,8-14: body.l: an index is a string or a whole number, not a list`,
		`body.o[body.x]`:              `1,8-14: body.x: there is no such field`,
		`(body.t ? body.o : {}).x`:    `1,2-25: there is no such field`,
		`[body.n][body.n]`:            `1,1-17: the list has no such element`,
		`{a = body.n}.a.b`:            `1,1-15: not an object but a number`,
		`jsondecode("[1]")[body.n]`:   `1,1-26: the list has no such element`,
		`msg.headers.x`:               `1,1-14: msg.headers.x: there is no such header`,
		`msg.headers["x y"]`:          `1,1-19: msg.headers["x y"]: there is no such header`,
		`msg.headers[body.s]`:         `1,1-20: msg.headers.abc: there is no such field`,
		`msg.headers.o.x`:             `1,1-16: msg.headers.o.x: there is no such field`,
		`msg.content_type.x`:          `1,1-17: msg.content_type: not an object but null`,
		`error.message`:               `1,1-14: error.message: there is no error: the message has not failed`,
		`coalesce(body.x, null, "")`:  `1,1-27: every value is absent, null or an empty string`,
		`[for v in body.l : v.x]`:     `1,20-21: v: not an object but a number`,
		`[for v in [body.o] : v.k.x]`: `1,22-27: v.k.x: there is no such field`,
		`body.l[*].x`:                 `1,7-10: body.l[*]: not an object but a number`,
		`[body.o][*].x`:               `1,9-14: there is no such field`,
		`[body.o][*].k.x`:             `1,9-16: there is no such field`,
		`body[*].x`:                   `1,5-10: body[*].x: there is no such field`,
		`get(body.x, body.y)`:         `1,13-19: body.y: there is no such field`,
		`has(body.o[body.x])`:         `1,12-18: body.x: there is no such field`,
		"{\n  a = 1\n  b = body.x\n}": `3,7-13: body.x: there is no such field`,
		"<<E\na ${body.x} b\nE\n":     `2,5-11: body.x: there is no such field`,
		`"ü${body.x}"`:                `1,5-11: body.x: there is no such field`,
		// What is of another type.
		`body.s + 1`:                              `1,1-7: body.s: not a number but a string`,
		`1 - body.null`:                           `1,5-14: body.null: not a number but null`,
		`-body.t`:                                 `1,2-8: body.t: not a number but a bool`,
		`body.l * 2`:                              `1,1-7: body.l: not a number but a list`,
		`body.o / 2`:                              `1,1-7: body.o: not a number but an object`,
		`msg.headers.bytes % 2`:                   `1,1-18: msg.headers.bytes: not a number but bytes`,
		`msg.headers.when + 1`:                    `1,1-17: msg.headers.when: not a number but a timestamp`,
		`body.s < 1`:                              `1,1-7: body.s: not a number but a string`,
		`body.s < body.null`:                      `1,10-19: body.null: not a number but null`,
		`body.t >= true`:                          `1,1-7: body.t: not a number but a bool`,
		`msg.headers.when > body.s`:               `1,20-26: body.s: not a timestamp (RFC 3339) but a string`,
		`body.s > msg.headers.when`:               `1,1-7: body.s: not a timestamp (RFC 3339) but a string`,
		`msg.headers.when > 5`:                    `1,1-17: msg.headers.when: not a number but a timestamp`,
		`!body.n`:                                 `1,2-8: body.n: not true or false but a number`,
		`body.t && body.s`:                        `1,11-17: body.s: not true or false but a string`,
		`body.null || true`:                       `1,1-10: body.null: not true or false but null`,
		`body.l ? 1 : 2`:                          `1,1-7: body.l: not true or false but a list`,
		`[for v in body.l : v if v]`:              `1,25-26: v: not true or false but a number`,
		`[for v in body.s : v]`:                   `1,11-17: body.s: not a list or an object but a string`,
		`{for v in body.same : v => 1}`:           `1,23-24: v: two elements have the same key: write ... after the value to group them`,
		`{for v in body.l : null => v}`:           `1,20-24: cannot be made a string: it is null`,
		`{(body.l) = 1}`:                          `1,3-9: body.l: cannot be made a string: it is a list`,
		`"${body.null}!"`:                         `1,4-13: body.null: cannot be made a string: it is null`,
		`"${body.o}!"`:                            `1,4-10: body.o: cannot be made a string: it is an object`,
		`"${msg.headers.bytes}!"`:                 `1,4-21: msg.headers.bytes: the bytes are not UTF-8 text: use base64encode`,
		`"%{ for v in body.n }%{ endfor }"`:       `1,14-20: body.n: not a list or an object but a number`,
		`"%{ for v in body.l }${[v]}%{ endfor }"`: `1,24-27: cannot be made a string: it is a list`,
		`max(body.l...) + max(body.s...)`:         `1,22-28: body.s: not a list but a string`,
		`max(body.none...)`:                       `1,1-18: cannot be called: max(numbers number...): the argument "numbers" is missing`,
		`lower(body.same...)`:                     `1,1-20: cannot be called: lower(s string) takes 1 at most, and was given 2`,
		`max([1, body.s]...)`:                     `1,5-16: not a number but a string`,
		// Numbers.
		`body.big + 1`:        `1,1-13: the result does not fit a 64-bit integer`,
		`-body.big - 2`:       `1,1-14: the result does not fit a 64-bit integer`,
		`body.big * body.n`:   `1,1-18: the result does not fit a 64-bit integer`,
		`-(-body.big - 1)`:    `1,1-17: the result does not fit a 64-bit integer`,
		`abs(-body.big - 1)`:  `1,1-19: the result does not fit a 64-bit integer`,
		`1 / (body.n - 3)`:    `1,1-17: division by zero`,
		`1.5 % (body.n - 3)`:  `1,1-19: division by zero`,
		`body.n / -0.0`:       `1,1-14: division by zero`,
		`1e308 * body.n * 10`: `1,1-15: the result is out of range`,
		`body.huge + 1`:       `1,1-10: body.huge: the number is out of range`,
		`round(body.huge)`:    `1,7-16: body.huge: the number is out of range`,
		`msg.headers.nan < 1`: `1,1-16: msg.headers.nan: the number is out of range`,
		`1 < msg.headers.nan`: `1,5-20: msg.headers.nan: the number is out of range`,
		`msg.headers.inf - 1`: `1,1-16: msg.headers.inf: the number is out of range`,
		`[msg.headers.nan]`:   `1,2-17: msg.headers.nan: the number is out of range`,
		// Functions.
		`lower(body.l)`:               `1,7-13: body.l: cannot be made a string: it is a list`,
		`keys(body.l)`:                `1,6-12: body.l: not an object but a list`,
		`length(body.n)`:              `1,8-14: body.n: has no length: it is a number`,
		`join(",", body.s)`:           `1,11-17: body.s: not a list but a string`,
		`join(",", [body.o])`:         `1,11-19: cannot be made a string: it is an object`,
		`element(body.none, 0)`:       `1,9-18: body.none: the list is empty`,
		`element(body.l, -body.n)`:    `1,17-24: an index is not negative`,
		`element(body.l, body.f)`:     `1,17-23: body.f: not a whole number`,
		`substr(body.s, body.f, 1)`:   `1,16-22: body.f: not a whole number`,
		`substr(body.s, 0, body.s)`:   `1,19-25: body.s: not a number but a string`,
		`round(body.f, body.n * 20)`:  `1,15-26: digits is a number from 0 to 30`,
		`round(body.f, body.f)`:       `1,15-21: body.f: not a whole number`,
		`tonumber(body.s)`:            `1,10-16: body.s: not a number but a string`,
		`tobool(body.s)`:              `1,8-14: body.s: not true or false but a string`,
		`tostring(body.l)`:            `1,10-16: body.l: cannot be made a string: it is a list`,
		`jsondecode(body.s)`:          `1,12-18: body.s: not JSON: byte 0 is 'a', where a value is expected`,
		`jsonencode(msg.headers.nan)`: `1,12-27: msg.headers.nan: the number is out of range`,
		`base64decode(body.s)`:        `1,14-20: body.s: not base64: illegal base64 data at input byte 0`,
		`base64encode(body.l)`:        `1,14-20: body.l: cannot be made a string: it is a list`,
		`sha256(body.o)`:              `1,8-14: body.o: cannot be made a string: it is an object`,
		`matches("${body.s}(", "")`:   "1,9-21: not a regular expression: error parsing regexp: missing closing ): `abc(`",
		`matches(join("", [for i in split("", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") : "${body.s}${body.s}${body.s}${body.s}${body.s}"]), "")`: `1,9-160: the regular expression is longer than 1000 bytes`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := mustValue(t, source).AppendJSON(nil, errorMessage())
			explained(t, err)
			if err == nil || err.Error() != "expression:"+want {
				t.Errorf("%s\n got %v\nwant expression:%s", source, err, want)
			}
		})
	}
}

// TestBodyIsNotJSON: only what needs the body to be JSON fails, and says where it is not.
func TestBodyIsNotJSON(t *testing.T) {
	for source, want := range map[string]string{
		`body`:                        `error: expression:1,1-5: body: the body is not JSON: byte 6 is 'x', where a value is expected`,
		`body.a`:                      `error: expression:1,1-7: body: the body is not JSON: byte 6 is 'x', where a value is expected`,
		`has(body.a)`:                 `error: expression:1,5-11: body: the body is not JSON: byte 6 is 'x', where a value is expected`,
		`get(body.a, 1)`:              `error: expression:1,5-11: body: the body is not JSON: byte 6 is 'x', where a value is expected`,
		`has(body)`:                   `false`,
		`get(body, {}) == {}`:         `true`,
		`has(body) && has(body.a)`:    `false`,
		`coalesce(body, msg.body)`:    `"{\"a\": x}"`,
		`length(msg.body)`:            `8`,
		`msg.routing_key`:             `""`,
		`false && body.a`:             `false`,
		`msg.priority > 0 ? body : 1`: `1`,
	} {
		if got := outcome(source, engine.NewMessage([]byte(`{"a": x}`), nil)); got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestErrorBehind: an error of the body's syntax, or of a function, is wrapped.
func TestErrorBehind(t *testing.T) {
	_, err := mustValue(t, `body.a`).Eval(engine.NewMessage([]byte(`{`), nil))
	var behind *syntaxError
	if !errors.As(err, &behind) || behind.offset != 1 {
		t.Errorf("behind %v is %v", err, behind)
	}
}

// TestUnset: the zero values are not set. What is evaluated for a value has none; what only changes
// or lists things has nothing to do.
func TestUnset(t *testing.T) {
	m := errorMessage()
	if (Bool{}).IsSet() || (String{}).IsSet() || (Value{}).IsSet() || (Map{}).IsSet() || (Assignments{}).IsSet() || (Paths{}).IsSet() {
		t.Error("a zero value is set")
	}
	for name, err := range map[string]error{
		"Bool": second(Bool{}.Eval(m)), "String": second(String{}.Eval(m)), "Value": second(Value{}.Eval(m)),
		"AppendJSON": second(Value{}.AppendJSON(nil, m)), "Elements": second(Value{}.Elements(m)),
	} {
		if err == nil || err.Error() != "there is no expression" || !engine.IsPermanent(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := errors.Join((Map{}).Each(m, nil), (Assignments{}).Apply(m), (Paths{}).Apply(m), NewEdit(Assignments{}, Paths{}).Apply(m))
	if err != nil || string(m.Body) != errorBody {
		t.Errorf("%v, and the body is %s", err, m.Body)
	}
	for name, set := range map[string]bool{
		"Bool": MustParseBool(`true`).IsSet(), "String": MustParseString(`""`).IsSet(), "Value": MustParseValue(`1`).IsSet(),
		"Map": MustParseMap(`{}`).IsSet(), "Assignments": MustParseAssignments(`{}`).IsSet(), "Paths": MustParsePaths(`[]`).IsSet(),
	} {
		if !set {
			t.Errorf("%s is not set", name)
		}
	}
}

func TestMustPanics(t *testing.T) {
	defer func() {
		if err, ok := recover().(error); !ok || !strings.HasPrefix(err.Error(), `compile expression: expression:1,1-2: Unknown name; There is nothing named "x" here.`) {
			t.Errorf("it panics with %v", err)
		}
	}()
	MustParseBool(`x`)
}

// TestBrokenSyntax: what the parser makes of broken source is refused with the parser's diagnostics.
func TestBrokenSyntax(t *testing.T) {
	for _, source := range []string{`body.`, `1 +`, `[1, `, `{a = `, `"${`, `f(`, `body.x ?`, `<<E`, `body[`, `%`, "", `a b`} {
		if _, err := ParseValue(source); err == nil {
			t.Errorf("%q compiles", source)
		}
		e, _ := hclsyntax.ParseExpression([]byte(source), "test.hcl", hcl.InitialPos)
		if e == nil {
			continue
		}
		_, diags := NewScope(nil).Value(e) // whatever there is, it does not panic
		located(t, diags)
	}
	e := &hclsyntax.ExprSyntaxError{SrcRange: hcl.Range{Filename: "test.hcl", Start: hcl.InitialPos, End: hcl.InitialPos}}
	if _, diags := NewScope(nil).Value(e); !diags.HasErrors() || diags[0].Summary != "Invalid expression" {
		t.Errorf("%v", diags)
	}
}

package expr

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
)

// TestEveryNode holds the conformance files to having every kind of expression that the syntax has.
func TestEveryNode(t *testing.T) {
	seen := map[string]bool{}
	operators := map[*hclsyntax.Operation]bool{}
	for _, name := range conformanceFiles(t) {
		for c := range conformanceCases(t, conformanceSections(t, name)) {
			_ = hclsyntax.VisitAll(parsed(t, c.source), func(n hclsyntax.Node) hcl.Diagnostics {
				seen[fmt.Sprintf("%T", n)] = true
				switch n := n.(type) {
				case *hclsyntax.BinaryOpExpr:
					operators[n.Op] = true
				case *hclsyntax.UnaryOpExpr:
					operators[n.Op] = true
				}
				return nil
			})
		}
	}
	for _, n := range []hclsyntax.Node{
		&hclsyntax.LiteralValueExpr{}, &hclsyntax.ScopeTraversalExpr{}, &hclsyntax.RelativeTraversalExpr{}, &hclsyntax.IndexExpr{},
		&hclsyntax.SplatExpr{}, &hclsyntax.AnonSymbolExpr{}, &hclsyntax.TupleConsExpr{}, &hclsyntax.ObjectConsExpr{},
		&hclsyntax.ObjectConsKeyExpr{}, &hclsyntax.ForExpr{}, &hclsyntax.TemplateExpr{}, &hclsyntax.TemplateJoinExpr{},
		&hclsyntax.TemplateWrapExpr{}, &hclsyntax.ConditionalExpr{}, &hclsyntax.FunctionCallExpr{}, &hclsyntax.BinaryOpExpr{},
		&hclsyntax.UnaryOpExpr{}, &hclsyntax.ParenthesesExpr{},
	} {
		if kind := fmt.Sprintf("%T", n); !seen[kind] {
			t.Errorf("the conformance files have no %s", kind)
		}
	}
	for _, op := range []*hclsyntax.Operation{
		hclsyntax.OpLogicalOr, hclsyntax.OpLogicalAnd, hclsyntax.OpLogicalNot, hclsyntax.OpEqual, hclsyntax.OpNotEqual, hclsyntax.OpGreaterThan,
		hclsyntax.OpGreaterThanOrEqual, hclsyntax.OpLessThan, hclsyntax.OpLessThanOrEqual, hclsyntax.OpAdd, hclsyntax.OpSubtract,
		hclsyntax.OpMultiply, hclsyntax.OpDivide, hclsyntax.OpModulo, hclsyntax.OpNegate,
	} {
		if !operators[op] {
			t.Errorf("the conformance files lack an operator: %+v", *op)
		}
	}
}

// TestManyLines has what the lines of the conformance files cannot: expressions that span lines.
func TestManyLines(t *testing.T) {
	m := engine.NewMessage([]byte(`{"id": "o-1", "list": ["a", "b"], "yes": true}`), nil)
	for source, want := range map[string]string{
		"<<E\norder ${body.id}\nE\n":               `"order o-1\n"`,
		"<<-E\n    order\n      ${body.id}\n  E\n": `"order\n  o-1\n"`,
		"<<E\nE\n": `""`,
		"<<E\n$${body.id} %%{if} \"quoted\" \\n\nE\n":                        `"${body.id} %{if} \"quoted\" \\n\n"`,
		"<<E\n%{ for v in body.list ~}\n- ${v}\n%{ endfor ~}\nE\n":           `"- a\n- b\n"`,
		"<<E\n%{ if body.yes ~}\n  yes\n%{~ else ~}\n  no\n%{~ endif }\nE\n": `"  yes\n"`,
		"<<E\n${body.list[0]}${\n  body.list[1]\n}\nE\n":                     `"ab\n"`,
		"[\n  body.id, # a comment\n  // another\n  1 /* and another */,\n]": `["o-1",1]`,
		"{\n  a = body.id\n  b = 1, c = 2\n  \"d\" : 3,\n}":                  `{"a":"o-1","b":1,"c":2,"d":3}`,
		"[for v in body.list :\n  upper(v)\n  if v != \"a\"\n]":              `["B"]`,
		"(\n  1\n  + 2\n)":         `3`,
		"(body.yes\n  ? 1\n  : 2)": `1`,
		"lower(\n  \"A\",\n)":      `"a"`,
	} {
		if got := outcome(source, m); got != want {
			t.Errorf("%q\n got %s\nwant %s", source, got, want)
		}
	}
}

// TestMessageAttributes reads every attribute of msg, of a message that has them all and of one that
// has none.
func TestMessageAttributes(t *testing.T) {
	full := targetMessage()
	full.Body = []byte("body")
	full.Redelivered, full.DeliveryCount = true, 7
	empty := &engine.Message{}
	wants := map[string][3]string{
		"body": {`"body"`, `""`, "true"}, "headers": {`3`, `0`, "true"}, "exchange": {`"orders"`, `""`, "true"},
		"routing_key": {`"order.eu"`, `""`, "true"}, "redelivered": {`true`, `false`, "true"}, "delivery_count": {`7`, `0`, "true"},
		"content_type": {`"text/plain"`, `null`, "false"}, "content_encoding": {`"gzip"`, `null`, "false"}, "delivery_mode": {`1`, `null`, "false"},
		"priority": {`3`, `0`, "true"}, "correlation_id": {`"c"`, `null`, "false"}, "reply_to": {`"r"`, `null`, "false"},
		"expiration": {`"1000"`, `null`, "false"}, "message_id": {`"m"`, `null`, "false"}, "timestamp": {`"1970-01-01T00:00:01Z"`, `null`, "false"},
		"type": {`"t"`, `null`, "false"}, "user_id": {`"u"`, `null`, "false"}, "app_id": {`"a"`, `null`, "false"},
	}
	for _, a := range msgAttributes {
		want, ok := wants[a.name]
		if !ok {
			t.Errorf("what is msg.%s?", a.name)
		}
		source := "msg." + a.name
		if a.name == "headers" {
			source = "length(msg.headers)"
		}
		for i, m := range []*engine.Message{full, empty} {
			if got := outcome(source, m); got != want[i] {
				t.Errorf("%s of %d is %s, want %s", source, i, got, want[i])
			}
			if got := outcome("has(msg."+a.name+")", m); got != []string{"true", want[2]}[i] {
				t.Errorf("has(msg.%s) of %d is %s", a.name, i, got)
			}
			whole := outcome(`{v = msg["`+a.name+`"]}.v`, m)
			if a.name != "headers" && whole != want[i] {
				t.Errorf(`msg["%s"] of %d is %s, want %s`, a.name, i, whole, want[i])
			}
		}
	}
	for _, name := range []string{"kind", "message", "stage", "attempt", "permanent"} {
		if !slices.ContainsFunc(errorAttributes, func(a attribute) bool { return a.name == name }) {
			t.Errorf("there is no error.%s", name)
		}
	}
}

// TestTimestamps: they are ordered with each other and with strings in RFC 3339, and keep their
// fractions.
func TestTimestamps(t *testing.T) {
	m := engine.NewMessage(nil, map[string]any{"a": time.Unix(100, 1), "b": time.Unix(100, 2).In(time.FixedZone("", 3600)), "c": time.Unix(100, 1).UTC()})
	for source, want := range map[string]string{
		`msg.headers.a < msg.headers.b`: `true`, `msg.headers.a >= msg.headers.b`: `false`, `msg.headers.a == msg.headers.c`: `true`,
		`msg.headers.a == msg.headers.b`: `false`, `msg.headers.a <= "1970-01-01T00:01:40Z"`: `false`, `"1970-01-01T01:01:41+01:00" > msg.headers.a`: `true`,
		`msg.headers.a == "1970-01-01T00:01:40.000000001Z"`: `false`, `"${msg.headers.a}" == "1970-01-01T00:01:40.000000001Z"`: `false`,
		`tostring(msg.headers.a) == "1970-01-01T00:01:40.000000001Z"`: `true`, `contains([msg.headers.c], msg.headers.a)`: `true`,
	} {
		if got := outcome(source, m); got != want {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
	}
}

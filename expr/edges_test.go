package expr

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// edges are values at the ends of what there is, as JSON.
var edges = []string{
	`null`, `true`, `0`, `-1`, `3`, `-0.0`, `0.5`, `9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `1e400`, `-1e-400`,
	`""`, `" "`, `"a"`, `"é😀"`, `"\u0000"`, `"\ud800"`, "\"\xff\"", `"%"`, `"%d %s"`, `"("`, `"$0"`, `"a,b\n1,2"`, `"1,2\n3,4"`, `"10.0.0.0/8"`, `"::1"`,
	`"2026-02-29T00:00:00Z"`, `"2026-03-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"-9223372036s"`, `"1h"`, `"{}"`, `"[1"`, `"YQ=="`, `"6"`,
	`[]`, `[null]`, `[[]]`, `["a", "a"]`, `[1, "1", 1.0]`, `[{}]`, `[{"a": 1}, {"b": []}]`, `[3, -1, 2]`,
	`{}`, `{"": ""}`, `{"a": null}`, `{"a": {"b": [1]}}`, `{"a": 1, "a": 2}`,
}

// TestFunctionsAtTheEdges calls every function with every edge, every pair of them, and a share of all triples: a call answers, or fails as
// an expression does. Nothing panics, whatever a message holds.
func TestFunctionsAtTheEdges(t *testing.T) {
	body := []byte(`{"e": [` + strings.Join(edges, ", ") + `]}`)
	for name, f := range functions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for count := max(f.least, 1); count <= 3 && f.takes(count) == ""; count++ {
				callAtTheEdges(t, name, count, body)
			}
		})
	}
}

// callAtTheEdges reads the arguments from the message, so that one compiled call serves all values.
func callAtTheEdges(t *testing.T, name string, count int, body []byte) {
	args := make([]string, count)
	for i := range args {
		args[i] = fmt.Sprintf("body.e[msg.headers.i%d]", i)
	}
	v, diags := NewScope(nil).Value(parsed(t, name+"("+strings.Join(args, ", ")+")"))
	if !located(t, diags) {
		t.FailNow()
	}
	m := engine.NewMessage(body, map[string]any{})
	combinations := 1
	for range count {
		combinations *= len(edges)
	}
	every := 1
	if count > 2 {
		every = 101 // a prime: all values meet
	}
	for n := 0; n < combinations; n += every {
		for i, rest := 0, n; i < count; i, rest = i+1, rest/len(edges) {
			m.Headers.Set(fmt.Sprintf("i%d", i), int64(rest%len(edges)))
		}
		out, err := v.AppendJSON(nil, m)
		explained(t, err)
		if err == nil && !json.Valid(out) {
			t.Fatalf("not JSON: %q", out)
		}
	}
}

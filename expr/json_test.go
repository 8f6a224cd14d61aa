package expr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
)

var jsonSeeds = []string{
	``, ` `, `{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1e`, `1e+`, `1E-5`, `-1.5e3`, `+1`,
	`"a"`, `"`, `"\"`, `"\u00e9"`, `"\u00g9"`, `"\uD800"`, `"\x"`, "\"\x1f\"", "\"\x7f\"", "\"\xff\"", "\ufeff{}",
	`{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a" : [1 , 2 ] }`, `[1,]`, `[,1]`, `[1 2]`, `[1],`,
	`{"a":{"b":[{"c":null}]}}`, `tru`, `nul`, `truee`, `[true,false,null]`, "\t\r\n 1 \n", "\v1", `{"a":1}{}`, `[[[[]]]]`,
	`"aaaaaaaaaaaaaaa\n"`, "\"aaaaaaaaaaaaaaa\n\"", `{"\u0061":1,"a":2}`,
}

// FuzzScan holds the scanner against encoding/json: what is JSON is the same, up to the depth.
func FuzzScan(f *testing.F) {
	for _, seed := range jsonSeeds {
		f.Add([]byte(seed))
	}
	var paths pathSet
	a, ab := paths.add([]step{{"a", -1}}), paths.add([]step{{"a", -1}, {"b", -1}})
	first := paths.add([]step{{"0", 0}})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := scanner{src: data, spans: make([]span, paths.slots)}
		err := s.scan(&paths.root)
		if valid := json.Valid(data); valid != (err == nil) {
			if valid && strings.Contains(err.want, "deeper") {
				return
			}
			t.Fatalf("%q: encoding/json says %v, the scanner %v", data, valid, err)
		}
		if err != nil {
			return
		}
		v := &view{body: data, paths: &paths, spans: s.spans}
		var whole any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		if err := decoder.Decode(&whole); err != nil {
			t.Fatal(err)
		}
		sameAs(t, v.value(0), whole, true)
		object, isObject := whole.(map[string]any)
		inner, found := object["a"]
		sameAs(t, v.value(a.slot), inner, isObject && found)
		nested, isObject := inner.(map[string]any)
		value, found := nested["b"]
		sameAs(t, v.value(ab.slot), value, isObject && found)
		if list, ok := whole.([]any); ok && len(list) > 0 {
			sameAs(t, v.value(first.slot), list[0], true)
		}
	})
}

// sameAs compares a value with what encoding/json decoded.
func sameAs(t *testing.T, v value, want any, there bool) {
	t.Helper()
	if !there {
		if v.kind != kindMissing {
			t.Fatalf("found %s where encoding/json found nothing", v.kind)
		}
		return
	}
	rendered, err := appendJSON(nil, v.deep(), &place{})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	decoder := json.NewDecoder(bytes.NewReader(rendered))
	decoder.UseNumber()
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("%s: %v", rendered, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %#v, want %#v", got, want)
	}
}

func TestScanDepth(t *testing.T) {
	for depth, want := range map[int]bool{maxDepth: true, maxDepth + 1: false, 1_000_000: false} {
		body := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		if err := checkJSON(body); (err == nil) != want {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for body, want := range map[string]string{
		``:            "it ends at byte 0, where a value is expected",
		`{"a": 1`:     "it ends at byte 7, where a comma or a closing brace is expected",
		`{"a": x}`:    "byte 6 is 'x', where a value is expected",
		"\xef\xbb{}":  "byte 0 is 0xef, where a value is expected",
		`{"a": 1} x`:  "byte 9 is 'x', where the end is expected",
		`{"a": 1.}`:   "byte 8 is '}', where a digit is expected",
		`{'a': 1}`:    `byte 1 is '\'', where a key in quotes is expected`,
		"[\"a\nb\"]":  "byte 3 is 0x0a, where a character of a string, not a control character, is expected",
		`{"a" 1}`:     "byte 5 is '1', where a colon is expected",
		`["\uD83x"]`:  "byte 7 is 'x', where a hexadecimal digit is expected",
		`[tru]`:       "byte 4 is ']', where true is expected",
		`<order></o>`: "byte 0 is '<', where a value is expected",
	} {
		err := checkJSON(body)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", body, err, want)
		}
	}
}

// document draws JSON with random white space and literals, and no key twice in an object.
func document(t *rapid.T, depth int) string {
	space := rapid.SampledFrom([]string{"", "", " ", "\n  ", "\t"})
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"0", "1.50", "-3", "1e400", "12345678901234567890"}).Draw(t, "number")
	case 1:
		return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")
	case 2:
		return rapid.SampledFrom([]string{`""`, `"a"`, `"\u00e9\n"`, `"},{"`, `"\\\""`}).Draw(t, "string")
	case 3:
		return "null"
	case 4:
		parts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return document(t, depth-1) }), 0, 3).Draw(t, "list")
		return "[" + pad(t, space, parts) + "]"
	}
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom(documentKeys), 0, 3, rapid.ID[string]).Draw(t, "keys")
	parts := make([]string, len(keys))
	for i, key := range keys {
		quoted := `"` + key + `"`
		if key == "b" && rapid.Bool().Draw(t, "escape") {
			quoted = `"\u0062"`
		}
		parts[i] = quoted + space.Draw(t, "s") + ":" + space.Draw(t, "s") + document(t, depth-1)
	}
	return "{" + pad(t, space, parts) + "}"
}

var documentKeys = []string{"a", "b", "c", "x y"}

func pad(t *rapid.T, space *rapid.Generator[string], parts []string) string {
	if len(parts) == 0 {
		return space.Draw(t, "s")
	}
	for i := range parts {
		parts[i] = space.Draw(t, "s") + parts[i] + space.Draw(t, "s")
	}
	return strings.Join(parts, ",")
}

// TestEditAgainstModel edits random documents with random paths and holds the result against the
// same change of what encoding/json decodes.
func TestEditAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := document(t, 3)
		paths := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(append([]string{"0", "1"}, documentKeys...)), 1, 3), 0, 4)
		sets, unsets := paths.Draw(t, "set"), paths.Draw(t, "unset")
		sets = slices.DeleteFunc(sets, func(p []string) bool {
			return slices.ContainsFunc(sets, func(o []string) bool { return &p[0] != &o[0] && isPrefix(p, o) })
		})
		m := engine.NewMessage([]byte(body), nil)
		err := editOf(t, sets, unsets).Apply(m)
		model := decode(t, body)
		possible := true
		for i, p := range sets {
			if !unsetting(p, unsets) {
				possible = possible && !indexesNothing(decode(t, body), p)
				model, possible = modelSet(model, p, json.Number(fmt.Sprint(i)), possible)
			}
		}
		if !possible {
			if err == nil {
				t.Fatalf("%s: set %q succeeded and gave %s", body, sets, m.Body)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: set %q unset %q: %v", body, sets, unsets, err)
		}
		model = modelUnset(model, unsets)
		if got := decode(t, string(m.Body)); !reflect.DeepEqual(got, model) {
			t.Fatalf("%s: set %q unset %q\n got %s\nwant %v", body, sets, unsets, m.Body, model)
		}
		if len(sets)+len(unsets) == 0 && string(m.Body) != body {
			t.Fatalf("%q became %q", body, m.Body)
		}
	})
}

func isPrefix(a, b []string) bool { return len(a) <= len(b) && slices.Equal(a, b[:len(a)]) }

func unsetting(p []string, unsets [][]string) bool {
	return slices.ContainsFunc(unsets, func(u []string) bool { return isPrefix(u, p) })
}

func editOf(t *rapid.T, sets, unsets [][]string) *Edit {
	scope := NewScope(nil)
	var set, unset []string
	for i, p := range sets {
		set = append(set, fmt.Sprintf("%s = %d", pathSource(p), i))
	}
	for _, p := range unsets {
		unset = append(unset, pathSource(p))
	}
	a, diags := scope.Assignments(parsed(t, "{"+strings.Join(set, "\n")+"}"))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	u, diags := scope.Paths(parsed(t, "["+strings.Join(unset, ",")+"]"))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return NewEdit(a, u)
}

func pathSource(p []string) string {
	s := "body"
	for _, key := range p {
		if key == "0" || key == "1" {
			s += "[" + key + "]"
		} else {
			s += fmt.Sprintf("[%q]", key)
		}
	}
	return s
}

// modelSet is what an assignment means.
func modelSet(v any, path []string, to any, possible bool) (any, bool) {
	if len(path) == 0 {
		return to, possible
	}
	switch v := v.(type) {
	case map[string]any:
		next, ok := v[path[0]]
		if !ok && len(path) > 1 {
			next = map[string]any{}
		}
		v[path[0]], possible = modelSet(next, path[1:], to, possible)
		return v, possible
	case []any:
		i := strings.Index("01", path[0])
		if i < 0 || i >= len(v) {
			return v, false
		}
		v[i], possible = modelSet(v[i], path[1:], to, possible)
		return v, possible
	case nil:
		return modelSet(map[string]any{}, path, to, possible)
	}
	return v, false
}

// indexesNothing reports whether a path has an index where there is neither a list nor an object.
func indexesNothing(v any, path []string) bool {
	for _, key := range path {
		switch parent := v.(type) {
		case map[string]any:
			v = parent[key]
		case []any:
			i := strings.Index("01", key)
			if i < 0 || i >= len(parent) {
				return false
			}
			v = parent[i]
		case nil:
			if key == "0" || key == "1" {
				return true
			}
		default:
			return false // which modelSet knows
		}
	}
	return false
}

// modelUnset is what removals mean: all indexes are those of the list as it came.
func modelUnset(v any, unsets [][]string) any {
	below := func(key string) (rest [][]string, gone bool) {
		for _, u := range unsets {
			if u[0] == key && len(u) == 1 {
				return nil, true
			} else if u[0] == key {
				rest = append(rest, u[1:])
			}
		}
		return rest, false
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Collect(maps.Keys(v)) {
			if rest, gone := below(key); gone {
				delete(v, key)
			} else {
				v[key] = modelUnset(v[key], rest)
			}
		}
	case []any:
		kept := []any{}
		for i, item := range v {
			if rest, gone := below(fmt.Sprint(i)); !gone {
				kept = append(kept, modelUnset(item, rest))
			}
		}
		return kept
	}
	return v
}

func TestEditKeepsOtherBytes(t *testing.T) {
	for _, test := range []struct{ body, set, unset, want string }{
		{`{ "a" : 1.50 , "b":2 }`, `{body.b = 3}`, `[]`, `{ "a" : 1.50 , "b":3 }`},
		{`{ "a" : 1.50 , "b":2 }`, `{body.c = 3}`, `[]`, `{ "a" : 1.50 , "b":2,"c":3 }`},
		{`{ "a" : 1.50 , "b":2 }`, `{}`, `[body.b]`, `{ "a" : 1.50  }`},
		{`{ "a" : 1.50 , "b":2 }`, `{}`, `[body.a]`, `{ "b":2 }`},
		{`{ "a" : 1.50 , "b":2 }`, `{}`, `[body.a, body.b]`, `{ }`},
		{`{ "a" : 1.50 , "b":2 }`, `{body.c = 1}`, `[body.a, body.b]`, `{"c":1 }`},
		{`{"a":1,"b":2,"c":3,"d":4}`, `{}`, `[body.b, body.c]`, `{"a":1,"d":4}`},
		{`{"a":1,"b":2,"c":3,"d":4}`, `{body.e = 5}`, `[body.c, body.d]`, `{"a":1,"b":2,"e":5}`},
		{`{"a":1,"b":2,"c":3,"d":4}`, `{}`, `[body.a, body.c]`, `{"b":2,"d":4}`},
		{`{}`, `{body.a.b.c = body}`, `[]`, `{"a":{"b":{"c":{}}}}`},
		{`{"a":null}`, `{body.a.b = 1}`, `[]`, `{"a":{"b":1}}`},
		{`[1, 2 ,3]`, `{body[1] = "x"}`, `[body[0]]`, `[ "x" ,3]`},
		{`{"a":1,"a":2}`, `{body.a = 3}`, `[]`, `{"a":3,"a":3}`},
		{`{"a":1,"b":0,"a":2}`, `{}`, `[body.a]`, `{"b":0}`},
		{`{"a":1.0,"n":1e5}`, `{body.b = body.n, body.c = {x = body.a}}`, `[]`, `{"a":1.0,"n":1e5,"b":1e5,"c":{"x":1.0}}`},
		{`{"a":1}`, `{body.a = body.b, body.b = body.a}`, `[]`, ``},
		{`{"a":1,"b":2}`, `{body.a = body.b, body.b = body.a}`, `[]`, `{"a":2,"b":1}`},
		{`{"a":1}`, `{body = {x = body.a, y = {z = 1, w = 2}}}`, `[body.y.z]`, `{"x":1,"y":{"w":2}}`},
		{`{"a":1}`, `{body.n = {z = 1, w = 2}}`, `[body.n.z, body.a]`, `{"n":{"w":2}}`},
		{`not json`, `{body = {x = 1}}`, `[]`, `{"x":1}`},
		{`not json`, `{msg.body = "text"}`, `[]`, `text`},
		{`not json`, `{msg.body = "{\"a\":1,\"b\":2}"}`, `[body.a]`, `{"b":2}`},
		{`not json`, `{msg.routing_key = "x"}`, `[]`, `not json`},
		{`{"a":1}`, `{}`, `[msg.body]`, ``},
		{`{"a":"x"}`, `{body.a.b = 1}`, `[]`, ``},
		{`{"a":"x"}`, `{}`, `[body.a.b]`, `{"a":"x"}`},
	} {
		scope := NewScope(nil)
		set, diags := scope.Assignments(parsed(t, test.set))
		unset, more := scope.Paths(parsed(t, test.unset))
		if diags.HasErrors() || more.HasErrors() {
			t.Fatal(diags, more)
		}
		m := engine.NewMessage([]byte(test.body), nil)
		err := NewEdit(set, unset).Apply(m)
		if test.want == "" && test.unset != "[msg.body]" {
			if err == nil || string(m.Body) != test.body {
				t.Errorf("%s %s: got %s and error %v", test.body, test.set, m.Body, err)
			}
			continue
		}
		if err != nil || string(m.Body) != test.want {
			t.Errorf("%s set %s unset %s\n got %s (%v)\nwant %s", test.body, test.set, test.unset, m.Body, err, test.want)
		}
	}
}

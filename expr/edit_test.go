package expr

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
)

var editKeys = []string{"a", "b", "a", "b", "", "x y", "é", "😀", "\"", "\\", "0", "1", "c-1", "}"}

var spaces = rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\r\n  "})

// documents draws JSON: keys that come twice, escapes where none are needed, white space wherever it
// may be, empty and deep values, and literals that encoding/json would write differently.
func documents(t *rapid.T, depth int) string {
	space := func() string { return spaces.Draw(t, "space") }
	form := rapid.IntRange(0, 7).Draw(t, "form")
	if depth == 0 {
		form %= 4
	}
	switch form {
	case 0:
		return rapid.SampledFrom([]string{"0", "-0", "1.50", "-3E+05", "1e400", "12345678901234567890"}).Draw(t, "number")
	case 1:
		return rapid.SampledFrom([]string{"true", "false", "null", "null"}).Draw(t, "word")
	case 2:
		return rapid.SampledFrom([]string{`""`, `"\u00e9\/\n"`, `"},{\"a\":1"`, `"\\"`, `"\\\""`, "\"\xff\"", `"\ud800"`, `"😀\ud83d\ude00"`}).Draw(t, "string")
	case 3:
		return rapid.SampledFrom([]string{"{}", "[]", "{ }", "[\n]", `[[[[{"a":{}}]]]]`}).Draw(t, "empty")
	case 4:
		parts := make([]string, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range parts {
			parts[i] = space() + documents(t, depth-1) + space()
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	parts := make([]string, rapid.IntRange(0, 4).Draw(t, "keys"))
	for i := range parts {
		parts[i] = space() + writtenKey(t) + space() + ":" + space() + documents(t, depth-1) + space()
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// writtenKey draws a key with escapes.
func writtenKey(t *rapid.T) string {
	out := `"`
	for _, r := range rapid.SampledFrom(editKeys).Draw(t, "key") {
		switch {
		case rapid.IntRange(0, 3).Draw(t, "escape") == 0:
			for _, unit := range utf16.Encode([]rune{r}) {
				out += fmt.Sprintf(rapid.SampledFrom([]string{`\u%04x`, `\u%04X`}).Draw(t, "digits"), unit)
			}
		case r == '"' || r == '\\':
			out += `\` + string(r)
		default:
			out += string(r)
		}
	}
	return out + `"`
}

// editValues are what is assigned: an expression, and the JSON that it makes.
var editValues = [][2]string{
	{`1`, `1`},
	{`"é\"\n"`, `"é\"\n"`},
	{`null`, `null`},
	{`[]`, `[]`},
	{`{a = {b = 1, c = [true]}, b = [1, {a = 2}], "x y" = 0.5}`, `{"a":{"b":1,"c":[true]},"b":[1,{"a":2}],"x y":0.5}`},
}

type drawnEdit struct {
	sets       []modelEdit
	unsets     [][]string
	set, unset []string // as they are written
	reads      []string // what later expressions read of the body
}

func drawEdit(t *rapid.T) drawnEdit {
	var e drawnEdit
	paths := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(editKeys), 1, 3), 0, 4)
	for _, p := range paths.Draw(t, "set") {
		if slices.ContainsFunc(e.sets, func(o modelEdit) bool { return isPrefix(o.path, p) || isPrefix(p, o.path) }) {
			continue
		}
		v := rapid.SampledFrom(editValues).Draw(t, "value")
		e.sets, e.set = append(e.sets, modelEdit{p, v[1]}), append(e.set, pathSource(p)+" = "+v[0])
	}
	e.unsets = paths.Draw(t, "unset")
	for _, p := range e.unsets {
		e.unset = append(e.unset, pathSource(p))
	}
	for _, p := range paths.Draw(t, "read") {
		e.reads = append(e.reads, pathSource(p))
	}
	return e
}

func isPrefix(a, b []string) bool { return len(a) <= len(b) && slices.Equal(a, b[:len(a)]) }

func pathSource(p []string) string {
	s := "body"
	for _, key := range p {
		if isIndex(key) {
			s += "[" + key + "]"
		} else {
			s += fmt.Sprintf("[%q]", key)
		}
	}
	return s
}

func (e drawnEdit) compile(t *rapid.T) *Edit {
	scope := NewScope(nil)
	set, diags := scope.Assignments(parsed(t, "{"+strings.Join(e.set, "\n")+"}"))
	unset, more := scope.Paths(parsed(t, "["+strings.Join(e.unset, ",")+"]"))
	if diags.HasErrors() || more.HasErrors() {
		t.Fatal(diags, more)
	}
	edit := NewEdit(set, unset)
	for _, path := range e.reads {
		if _, diags := scope.Value(parsed(t, path)); diags.HasErrors() {
			t.Fatal(diags)
		}
	}
	return edit
}

// checkView holds what an edit says of the new body against what a scan finds.
func checkView(t *rapid.T, m *engine.Message, about string) {
	got, ok := m.Decoded().(*view)
	if !ok {
		return
	}
	want := newView(m.Body, got.paths)
	s := scanner{src: m.Body, spans: want.spans}
	want.err = s.scan(&want.paths.root)
	if s.doubled != got.doubled || (got.err == nil) != (want.err == nil) {
		t.Fatalf("%sthe view of %q is %+v, want %+v", about, m.Body, got, want)
	}
	for i := range want.spans {
		g, w := got.spans[i], want.spans[i]
		if g.kind != kindString {
			g.escaped, w.escaped = false, false
		}
		if g != w {
			t.Fatalf("%sin %q a value is at %+v, want %+v", about, m.Body, g, w)
		}
	}
}

// TestEditAgainstModel edits random documents and holds what comes out against the same edit of what
// encoding/json reads: every value that was not edited, every key and the order of both are the same
// bytes as before; where values are only replaced, so are all other bytes; where members are removed,
// nothing but bytes is missing.
func TestEditAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := spaces.Draw(t, "space") + documents(t, 3) + spaces.Draw(t, "space")
		drawn := drawEdit(t)
		kept := slices.DeleteFunc(slices.Clone(drawn.sets), func(s modelEdit) bool {
			return slices.ContainsFunc(drawn.unsets, func(u []string) bool { return isPrefix(u, s.path) })
		})
		about := fmt.Sprintf("%q\nset %s\nunset %s\n", body, drawn.set, drawn.unset)
		m, edit := engine.NewMessage([]byte(body), nil), drawn.compile(t)
		clone := rapid.SampledFrom([]string{"", "before it is decoded", "after it is decoded"}).Draw(t, "clone")
		var other *engine.Message
		if clone == "before it is decoded" {
			other = m.Clone()
		}
		if edit.scope != nil && rapid.Bool().Draw(t, "decoded before") {
			scanned(m, edit.scope)
		}
		if clone == "after it is decoded" {
			other = m.Clone()
		}
		err := edit.Apply(m)
		if other != nil {
			checkView(t, other, about+"of a clone: ")
		}
		mo := &model{t: t, text: body}
		want, impossible := mo.apply(readJSON(t, body), kept, drawn.unsets)
		switch got := string(m.Body); {
		case (err != nil) != (impossible != nil):
			t.Fatalf("%sgot %q and error %v, want error %v", about, got, err, impossible)
		case err != nil && got != body:
			t.Fatalf("%safter an error the body is %q", about, got)
		case err != nil:
			checkView(t, m, about)
		case !json.Valid(m.Body):
			t.Fatalf("%snot JSON: %q", about, got)
		case want.differs(got, readJSON(t, got)) != nil:
			t.Fatalf("%sgot %q: %v", about, got, want.differs(got, readJSON(t, got)))
		case !mo.added && !mo.removed && got != mo.replaced():
			t.Fatalf("%s got %q\nwant %q", about, got, mo.replaced())
		case !mo.added && len(mo.spliced) == 0 && !isSubsequence(got, body):
			t.Fatalf("%sgot %q, which has bytes that were not there", about, got)
		}
		checkView(t, m, about)
	})
}

// scanned has what a scope's expressions read of a message scanned.
func scanned(m *engine.Message, s *Scope) {
	e := enter(m)
	defer e.leave()
	e.view(&s.paths)
}

func isSubsequence(part, whole string) bool {
	for i := range len(part) {
		at := strings.IndexByte(whole, part[i])
		if at < 0 {
			return false
		}
		whole = whole[at+1:]
	}
	return true
}

// TestCopies: what is copied from the body is copied byte for byte.
func TestCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inner := documents(t, 3)
		body := `{"first": 1, "a": ` + inner + ` , "last":[ ]}`
		m := engine.NewMessage([]byte(body), nil)
		if err := MustParseAssignments(`{body.copy = body.a, body.first = {v = [body.a]}}`).Apply(m); err != nil {
			t.Fatal(err)
		}
		want := `{"first": {"v":[` + inner + `]}, "a": ` + inner + ` , "last":[ ],"copy":` + inner + `}`
		if !strings.HasPrefix(inner, `"`) && string(m.Body) != want {
			t.Fatalf(" got %q\nwant %q", m.Body, want)
		}
		if !json.Valid(m.Body) {
			t.Fatalf("not JSON: %q", m.Body)
		}
	})
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

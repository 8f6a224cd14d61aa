package expr

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
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
	for args := range corpus(f, "FuzzScan") {
		f.Add([]byte(args[0]))
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
	if v.isRaw() && !utf8.ValidString(v.str) {
		return // keys that differ in bytes that are not UTF-8 are one for encoding/json
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

// TestPlainText holds the search in words and in pieces against one byte by byte.
func TestPlainText(t *testing.T) {
	const special = "\"\\\x00\x08\x1f" // and what looks much like it
	others := []byte("a !#[]\x7f\x80\x9f\xa0\xa2\xdc\xff")
	for range 50_000 {
		src := make([]byte, rand.IntN(1<<rand.IntN(12)))
		for i := range src {
			src[i] = others[rand.IntN(len(others))]
		}
		for range rand.IntN(4) {
			if len(src) > 0 {
				src[rand.IntN(len(src))] = special[rand.IntN(len(special))]
			}
		}
		from := rand.IntN(min(len(src), 40) + 1)
		want := len(src)
		if i := bytes.IndexAny(src[from:], special); i >= 0 {
			want = from + i
		}
		if got := plainText(src, from); got != want {
			t.Fatalf("in %q from %d on: %d, want %d", src, from, got, want)
		}
		if got := longText(src, from); got != want {
			t.Fatalf("in %q from %d on, as a long text: %d, want %d", src, from, got, want)
		}
	}
}

// BenchmarkManyEscapes: a text full of escapes is not searched to its end after each.
func BenchmarkManyEscapes(b *testing.B) {
	src := []byte(`"` + strings.Repeat(strings.Repeat("x", 40)+`\n`, 25_000) + `"`)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if s := (scanner{src: src}); s.scan(nil) != nil {
			b.Fatal(s.err)
		}
	}
}

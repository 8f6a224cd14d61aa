//go:build !race

package expr

import (
	"slices"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// What is here takes minutes under the race detector, which has one goroutine to watch.

// wideBody is a quarter of a megabyte that makes the square of itself large.
func wideBody() []byte {
	const n = 20_000
	return []byte(`{"a": [` + strings.TrimSuffix(strings.Repeat("[],", n), ",") +
		`], "b": [` + strings.TrimSuffix(strings.Repeat("1,", 5*n), ",") +
		`], "s": "` + strings.Repeat("x", 5*n) + `", "p": "` + strings.Repeat("(x{1000})", 50) + `"}`)
}

// TestWorkIsBounded evaluates what would take minutes or gigabytes.
func TestWorkIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	for _, source := range []string{
		`[for v in body.a : v if contains(body.b, 2)]`,
		`[for v in body.a : v if contains(body.a, body.b)]`,
		`[for v in body.a : v if body.b == [for x in body.b : x]]`,
		`[for v in body.a : v if [body.b] == [body.b]]`,
		`matches(body.p, body.s)`,
		`[for v in body.a : matches(body.p, "x")]`,
		`[for v in body.a : v if matches("x+b", body.s)]`,
		`[for v in body.a : jsondecode(msg.body).p]`,
		`[for v in body.a : v if sha256(body.s) == ""]`,
		`[for v in body.a : v if strcontains(msg.body, "never")]`,
		`[for v in body.a : v if length(msg.body) == 0]`,
		`[for v in body.a : length((length(v) == 0 ? body : v).a)]`,
		`[for v in body.a : length(distinct(body.b))]`,
		`length(distinct([for i, v in body.a : [i]]))`,
		`[for v in body.a : sum(body.b)]`,
		`[for v in body.a : regexall(body.p, body.s)]`,
		`[for v in body.a : length(regexall("y*", body.s))]`,
		`[for v in body.a : csvdecode(body.s)]`,
		`[for v in body.a : hmacsha256("k", body.s)]`,
		`[for v in body.a : alltrue([for n in body.b : n == 1])]`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := mustValue(t, source).Eval(engine.NewMessage(wideBody(), nil))
			refusedWith(t, err, tooMuch, tooLarge)
		})
	}
}

// TestOutputIsBounded makes what is larger than an expression may produce.
func TestOutputIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	for _, source := range []string{
		`{for i, v in body.a : i => body.s}`,
		`[for v in body.a : [for w in body.a : w]]`,
		`jsonencode([for v in body.a : body.b])`,
		`join(body.s, body.b)`,
		`"%{ for v in body.b }${body.s}%{ endfor }"`,
		`[for v in body.a : "${body.s}!"]`,
		`[for b in [body] : [for v in body.a : b.s]]`,
		`[for v in body.a : upper(body.s)]`,
		`replace(body.s, "x", body.s)`,
		`replace(body.s, "", body.s)`,
		`length(split("", join(",", concat(body.b, body.b, body.b, body.b, body.b, body.b))))`,
		`concat([for v in body.a : body.b]...)`,
		`[for v in body.a : jsonencode(body.b)]`,
		`[for v in body.a : base64encode(body.s)]`,
		`[for v in body.a : body.b[*]]`,
		`[for v in body.b : format("%1000d", v)]`,
		`[for v in body.a : indent(1000, body.s)]`,
		`regexreplace("", body.s, body.s)`,
		`regexreplace("x", body.s, body.s)`,
		`range(1000 * length(body.b))`,
		`range(length(body.b), 9223372036854775807)`,
		`[for v in body.a : sort(body.b)]`,
		`[for v in body.a : setunion(body.b, body.a)]`,
		`flatten([for v in body.a : body.b])`,
		`chunklist(concat([for v in body.a : body.b]...), 1)`,
		`[for v in body.a : zipmap(body.b, body.b)]`,
		`csvencode([for v in body.b : {a = body.s}], ["a", "a", "a"])`,
		`[for v in body.a : urlencode(body.s)]`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := mustValue(t, source).Eval(engine.NewMessage(wideBody(), nil))
			refusedWith(t, err, tooLarge, tooMuch)
		})
	}
}

// TestRenderedOutputIsBounded makes values that are small until they are written.
func TestRenderedOutputIsBounded(t *testing.T) {
	const list, object = `[for v in body.a : body.b]`, `{a = [for v in body.a : body.b]}`
	m := engine.NewMessage(wideBody(), nil)
	for name, err := range map[string]error{
		"Eval":       second(mustValue(t, list).Eval(m)),
		"AppendJSON": second(mustValue(t, list).AppendJSON(nil, m)),
		"Elements":   second(mustValue(t, list).Elements(m)),
		"Each":       Map(mustValue(t, object)).Each(m, func(string, any) error { return nil }),
		"set body":   MustParseAssignments(`{body = ` + object + `}`).Apply(m),
		"set field":  MustParseAssignments(`{body.x = ` + list + `}`).Apply(m),
		"set header": MustParseAssignments(`{msg.headers.x = ` + list + `}`).Apply(m),
	} {
		t.Run(name, func(t *testing.T) { refusedWith(t, err, tooLarge) })
	}
}

func refusedWith(t *testing.T, err error, texts ...string) {
	t.Helper()
	explained(t, err)
	if err == nil || !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) }) {
		t.Errorf("got %v", err)
	}
}

// TestLargeIsFine evaluates what is large but linear, or a square that is small enough.
func TestLargeIsFine(t *testing.T) {
	m := engine.NewMessage(wideBody(), nil)
	for source, want := range map[string]string{
		`contains(body.a, body.b)`:                                      "false",
		`length([for v in body.a : length(body.b)])`:                    "20000",
		`length([for i, v in body.a : body.b[i]])`:                      "20000",
		`length([for v in body.a : v if body.a == body.b])`:             "0",
		`length([for i, v in body.a : i if contains(body.b, 1)])`:       "20000",
		`length(body.s) + length(upper(body.s)) + length(msg.body)`:     "560484",
		`length(jsondecode(jsonencode(body)).b)`:                        "100000",
		`body == jsondecode(msg.body)`:                                  "true",
		`length(join("", [for v in body.b : tostring(v)]))`:             "100000",
		`matches("^x*$", body.s) && !matches("xy", body.s)`:             "true",
		`length([for i, v in body.a : msg.headers if i > 19998])`:       "1",
		`length([for i, v in body.a : body["s"] if body["b"][i] == 1])`: "20000",
	} {
		out, err := mustValue(t, source).AppendJSON(nil, m)
		if err != nil || string(out) != want {
			t.Errorf("%s: got %.100s and error %v, want %s", source, out, err, want)
		}
	}
}

// TestLongLists: a list or object is looked into up to a million elements; copying it needs no look.
func TestLongLists(t *testing.T) {
	list := `[` + strings.Repeat("1,", maxElements) + `1]`
	m := engine.NewMessage([]byte(`{"l": `+list+`, "most": [`+strings.Repeat("1,", maxElements-1)+`1]}`), nil)
	for source, want := range map[string]string{
		`length(body.l)`:    `error: expression:1,8-14: body.l: a list of more than a million elements`,
		`length(body.most)`: `1048576`,
		`body.l[1048576]`:   `1`,
		`body.l`:            list,
	} {
		if got := outcome(source, m); got != want {
			t.Errorf("%s is %.100s, want %.100s", source, got, want)
		}
	}
	if elements, err := mustValue(t, `body.l`).Elements(m); err != nil || len(elements) != maxElements+1 {
		t.Errorf("%d elements, %v", len(elements), err)
	}
}

// TestSearchesCountWhatTheyCompare: a long list that is written there may be looked into for as many elements as are found early in it, and
// for few that are not in it.
func TestSearchesCountWhatTheyCompare(t *testing.T) {
	list := `["here"` + strings.Repeat(`, "not here"`, 2_000) + `]`
	for _, item := range []string{`"here"`, `"nowhere"`} {
		m := engine.NewMessage([]byte(`{"l": [`+strings.TrimSuffix(strings.Repeat(item+",", 20_000), ",")+`]}`), nil)
		_, err := mustValue(t, `length([for v in body.l : v if contains(`+list+`, v)])`).Eval(m)
		if item == `"here"` && err != nil {
			t.Error(err)
		} else if item != `"here"` {
			refusedWith(t, err, tooMuch)
		}
	}
}

package expr

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)

// headerTypes is a value of every type that an AMQP table has, its text and its JSON; no text is an
// error.
var headerTypes = []struct {
	value      any
	text, json string
}{
	{nil, "", `null`},
	{true, "true", `true`},
	{int8(-8), "-8", `-8`},
	{uint8(200), "200", `200`},
	{int16(-16), "-16", `-16`},
	{uint16(60000), "60000", `60000`},
	{int32(-32), "-32", `-32`},
	{uint32(4e9), "4000000000", `4000000000`},
	{int64(math.MinInt64), "-9223372036854775808", `-9223372036854775808`},
	{float32(0.1), "0.1", `0.1`},
	{float64(0.1), "0.1", `0.1`},
	{1e21, "1e+21", `1e+21`},
	{1e-7, "1e-7", `1e-7`},
	{math.Copysign(0, -1), "0", `0`},
	{float64(5), "5", `5`},
	{math.Inf(1), "+Inf", ``},
	{float32(math.Inf(-1)), "-Inf", ``},
	{engine.Decimal{Scale: 2, Value: 12345}, "123.45", `123.45`},
	{engine.Decimal{Scale: 0, Value: -7}, "-7", `-7`},
	{"text", "text", `"text"`},
	{"", "", `""`},
	{"a\"\\\n\t\r\b\f\x01é\u2028", "a\"\\\n\t\r\b\f\x01é\u2028", `"a\"\\\n\t\r\b\f\u0001é` + "\u2028" + `"`},
	{[]byte("bytes"), "bytes", `"Ynl0ZXM="`},
	{[]byte{0xff, 0}, "", `"/wA="`},
	{day, "2026-01-02T03:04:05.6789Z", `"2026-01-02T03:04:05.6789Z"`},
	{[]any{int8(1), "a", nil, []any{}}, "", `[1,"a",null,[]]`},
	{map[string]any{"b": uint16(2), "a": map[string]any{}}, "", `{"a":{},"b":2}`},
}

// TestHeaderTypes: a header that is only passed on keeps its type, wherever it goes.
func TestHeaderTypes(t *testing.T) {
	value, fields := mustValue(t, `msg.headers.x`), MustParseMap(`{whole = msg.headers.x, in = [msg.headers.x]}`)
	set := MustParseAssignments(`{msg.headers.y = msg.headers.x}`)
	for _, test := range headerTypes {
		t.Run(fmt.Sprintf("%T %v", test.value, test.value), func(t *testing.T) {
			m := engine.NewMessage(nil, map[string]any{"x": test.value})
			if got, err := value.Eval(m); err != nil || !reflect.DeepEqual(got, test.value) {
				t.Errorf("Eval: %T %v, %v", got, got, err)
			}
			err := fields.Each(m, func(key string, got any) error {
				want := test.value
				if key == "in" {
					want = []any{test.value}
				}
				if !reflect.DeepEqual(got, want) {
					return fmt.Errorf("%s is %T %v", key, got, got)
				}
				return nil
			})
			if err != nil {
				t.Errorf("Each: %v", err)
			}
			if err := set.Apply(m); err != nil {
				t.Errorf("Apply: %v", err)
			}
			if got, _ := m.Headers.Get("y"); !reflect.DeepEqual(got, test.value) {
				t.Errorf("set: %T %v", got, got)
			}
			checkRendering(t, m, test.text, test.json)
		})
	}
}

func checkRendering(t *testing.T, m *engine.Message, text, json string) {
	t.Helper()
	out, err := mustValue(t, `msg.headers.x`).AppendJSON([]byte("> "), m)
	if json == "" && err == nil || json != "" && string(out) != "> "+json {
		t.Errorf("as JSON: %s, %v", out, err)
	}
	s, err := MustParseString(`"${msg.headers.x}."`).Eval(m)
	whole, wholeErr := MustParseString(`msg.headers.x`).Eval(m)
	if (err == nil) != (wholeErr == nil) || err == nil && (s != text+"." || whole != text) {
		t.Errorf("as text: %q, %v and %q, %v", s, err, whole, wholeErr)
	}
	if err == nil != (text != "" || json == `""`) {
		t.Errorf("as text: %q, %v", s, err)
	}
}

// TestGoValues: what does not come from a header has one Go type a kind.
func TestGoValues(t *testing.T) {
	for source, want := range map[string]any{
		`null`:                        nil,
		`body.t`:                      true,
		`1`:                           int64(1),
		`1.0`:                         int64(1),
		`body.one`:                    float64(1),
		`body.n`:                      int64(7),
		`body.e`:                      float64(1000),
		`body.big`:                    12345678901234567890.0,
		`body.n / 2`:                  3.5,
		`body.n / 7`:                  int64(1),
		`msg.headers.small + 1`:       int64(2),
		`-msg.headers.small`:          int64(-1),
		`tonumber(msg.headers.small)`: int64(1),
		`tonumber(msg.headers.price)`: 1.25,
		`msg.headers.price * 2`:       2.5,
		`min(msg.headers.small, 5)`:   int8(1),
		`"${msg.headers.small}"`:      int8(1),
		`"${msg.headers.small}."`:     "1.",
		`body.s`:                      "é\n",
		`base64decode("/w==")`:        []byte{0xff},
		`msg.timestamp`:               time.Unix(1, 0).UTC(),
		`body.l`:                      []any{int64(1), []any{nil, map[string]any{"k": "v"}}},
		`body.o`:                      map[string]any{"dup": int64(2), "é": int64(3)},
		`[body.n, [body.l]]`:          []any{int64(7), []any{[]any{int64(1), []any{nil, map[string]any{"k": "v"}}}}},
		`{b = 1, a = {}}`:             map[string]any{"b": int64(1), "a": map[string]any{}},
		`[]`:                          []any{},
		`msg.headers.none`:            nil,
	} {
		m := engine.NewMessage([]byte(`{"t": true, "one": 1.0, "n": 7, "e": 1e3, "big": 12345678901234567890, "s": "\u00e9\n",
			"l": [1, [null, {"k": "v"}]], "o": {"dup": 1, "dup": 2, "\u00e9": 3}}`),
			map[string]any{"small": int8(1), "none": nil, "price": engine.Decimal{Scale: 2, Value: 125}})
		m.Properties.Timestamp = time.Unix(1, 0)
		if got, err := mustValue(t, source).Eval(m); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %T %v, %v; want %T %v", source, got, got, err, want, want)
		}
	}
	_, err := mustValue(t, `[1e308 * body.n]`).Eval(engine.NewMessage([]byte(`{"n": 10}`), nil))
	explained(t, err)
	_, err = mustValue(t, `[body.n]`).Eval(engine.NewMessage([]byte(`{"n": [1e999]}`), nil))
	if err == nil || !strings.HasSuffix(err.Error(), outOfRange) {
		t.Errorf("a number that no float64 holds became a Go value: %v", err)
	}
}

// TestConversions: the one rule for what must be a bool or a string.
func TestConversions(t *testing.T) {
	m := engine.NewMessage([]byte(`{"true": true, "s": "true", "f": "false", "0": "0", "1": "1", "n": 1, "lit": 1.50, "e": 1E2}`), nil)
	for source, want := range map[string]string{
		`body.true`: "true", `body.s`: "true", `body.f`: "false", `body["0"]`: "false", `body["1"]`: "true", `body.n == 1`: "true",
		`body.n`: "error", `null`: "error", `"yes"`: "error", `[]`: "error",
	} {
		b, err := ParseBool(source)
		got := "error"
		if err == nil {
			if ok, failed := b.Eval(m); failed == nil {
				got = fmt.Sprint(ok)
			}
		}
		if got != want {
			t.Errorf("condition %s: %s, want %s", source, got, want)
		}
	}
	for source, want := range map[string]string{
		`body.true`: "true", `body.n`: "1", `body.lit`: "1.5", `body.e`: "100", `body.s`: "true", `1.50`: "1.5", `12e3`: "12000",
	} {
		if got, err := MustParseString(source).Eval(m); err != nil || got != want {
			t.Errorf("string %s: %q, %v; want %q", source, got, err, want)
		}
	}
}

func TestElements(t *testing.T) {
	m := engine.NewMessage([]byte(`{"l": [ 1.50, {"a" : "\u00e9"}, [ ] , null], "strings": ["\u00e9\/", "\ud800"], "o": {}, "none": [ ]}`), nil)
	for source, want := range map[string]string{
		`body.l`:                            `1.50|{"a" : "\u00e9"}|[ ]|null`,
		`[for v in body.l : {v = v}]`:       `{"v":1.50}|{"v":{"a" : "\u00e9"}}|{"v":[ ]}|{"v":null}`,
		`[body.l[0], "x"]`:                  `1.50|"x"`,
		`body.none`:                         ``,
		`body.strings`:                      `"\u00e9\/"|"\ud800"`,
		`[body.strings[0], [body.strings]]`: `"é/"|[["\u00e9\/", "\ud800"]]`,
		`[]`:                                ``,
		`jsondecode("[1 , 2]")`:             `1|2`,
		`msg.headers`:                       "error: expression:1,1-12: msg.headers: not a list but an object",
		`body.o`:                            "error: expression:1,1-7: body.o: not a list but an object",
		`body.x`:                            "error: expression:1,1-7: body.x: there is no such field",
		`[msg.headers.nan, 1]`:              "error: expression:1,2-17: msg.headers.nan: there is no such header",
	} {
		list, err := mustValue(t, source).Elements(m)
		var parts []string
		for _, item := range list {
			parts = append(parts, string(item))
		}
		got := strings.Join(parts, "|")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
	list, err := mustValue(t, `body.l`).Elements(m)
	if err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
	list[0][0] = 'x' // they are the caller's
	if m.Body[8] != '1' {
		t.Errorf("the body became %s", m.Body)
	}
}

func TestMap(t *testing.T) {
	m := engine.NewMessage([]byte(`{"k": "key", "l": [1], "o": {"y": 1, "x": 2}}`), nil)
	for source, want := range map[string]string{
		`{x-reason = body.k, a = 1, "b c" = null}`: "x-reason=key a=1 b c=<nil> ",
		`{(body.k) = 1, a = 2, key = 3}`:           "key=3 a=2 ",
		`{for v in body.l : "n${v}" => v}`:         "n1=1 ",
		`body.o`:                                   "y=1 x=2 ",
		`merge(body.o, {y = 3, z = 4})`:            "y=3 x=2 z=4 ",
		`{}`:                                       "",
		`body.l`:                                   "error: expression:1,1-7: body.l: not an object but a list",
		`{a = 1, b = body.x}`:                      "error: expression:1,13-19: body.x: there is no such field",
	} {
		got := ""
		err := MustParseMap(source).Each(m, func(key string, v any) error {
			got += fmt.Sprintf("%s=%v ", key, v)
			return nil
		})
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", source, got, want)
		}
	}
	stop := errors.New("stop")
	calls := 0
	err := MustParseMap(`{a = 1, b = 2}`).Each(m, func(string, any) error {
		calls++
		return stop
	})
	if calls != 1 || !errors.Is(err, stop) || engine.IsPermanent(err) {
		t.Errorf("%d calls and error %v", calls, err)
	}
	err = MustParseMap(`{a = 1, b = body.huge}`).Each(engine.NewMessage([]byte(`{"huge": 1e999}`), nil), func(string, any) error { return nil })
	explained(t, err)
	if err == nil {
		t.Error("no error for a number that is out of range")
	}
}

func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `"k%d": %d, `, i, i)
	}
	m := engine.NewMessage([]byte(`{"o": {`+b.String()+`"k3": "again", "k\u0035": "escaped"}, "k": "k7"}`), nil)
	for source, want := range map[string]string{
		`length(body.o)`: `40`, `body.o[body.k]`: `7`, `merge(body.o, {x = 1}).k3`: `"again"`, `{for k, v in body.o : k => v}.k39`: `39`,
		`merge(body.o, {}).k5`: `"escaped"`, `merge(body.o, {}) == body.o`: `true`, `merge(body.o, {k3 = 3}) == body.o`: `false`,
		`has(merge(body.o, {}).k40)`: `false`, `keys(body.o)[39]`: `"k9"`,
	} {
		if got := outcome(source, m); got != want {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
	}
}

package split_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/stages/split"
)

func Example() {
	stage, err := split.New(split.Config{Each: expr.MustParseValue(`[for i in body.items : merge(i, { order = body.id })]`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := engine.NewMessage([]byte(`{"id":7,"items":[{"sku":"tea"},{"sku":"cup"}]}`), nil)
	_ = stage.Process(context.Background(), m, func(m *engine.Message) { fmt.Printf("%s\n", m.Body) })
	// Output:
	// {"sku":"tea","order":7}
	// {"sku":"cup","order":7}
}

func TestElements(t *testing.T) {
	for name, test := range map[string]struct {
		each, body string
		want       []string
	}{
		"scalars":      {`body.items`, `{"items":[1, "a<b", true, null, 1.50]}`, []string{`1`, `"a<b"`, `true`, `null`, `1.50`}},
		"as they came": {`body.items`, `{"items":[ {"b":1,  "a":[1.0, 1e3]} ]}`, []string{`{"b":1,  "a":[1.0, 1e3]}`}},
		"the body":     {`body`, `[[1],[2]]`, []string{`[1]`, `[2]`}},
		"made here":    {`[body.a, { x = body.b }]`, `{"a":1.10,"b":2}`, []string{`1.10`, `{"x":2}`}},
		"none":         {`body.items`, `{"items":[]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			stage, err := split.New(split.Config{Each: expr.MustParseValue(test.each)})
			if err != nil {
				t.Fatal(err)
			}
			m := engine.NewMessage([]byte(test.body), map[string]any{"h": int8(1)})
			m.Properties.MessageID = "id"
			m.RoutingKey = "key"
			var got []string
			err = stage.Process(context.Background(), m, func(m *engine.Message) {
				got = append(got, string(m.Body))
				if h, _ := m.Headers.Get("h"); h != int8(1) || m.Properties.MessageID != "id" || m.RoutingKey != "key" {
					t.Errorf("a part has not what the input has: %+v", m)
				}
			})
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestFailure(t *testing.T) {
	for name, test := range map[string]struct{ each, body, want string }{
		"missing":       {`body.items`, `{}`, "items"},
		"an object":     {`body.items`, `{"items":{}}`, "not a list but an object"},
		"a string":      {`body.items`, `{"items":"x"}`, "not a list but a string"},
		"null":          {`body.items`, `{"items":null}`, "not a list but null"},
		"a number":      {`body.items`, `{"items":1}`, "not a list but a number"},
		"not JSON":      {`body.items`, `[`, "JSON"},
		"not even text": {`body`, "\xff", "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			stage, err := split.New(split.Config{Each: expr.MustParseValue(test.each)})
			if err != nil {
				t.Fatal(err)
			}
			err = stage.Process(context.Background(), engine.NewMessage([]byte(test.body), nil), func(*engine.Message) {
				t.Error("something goes on")
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if !engine.IsPermanent(err) || engine.KindOf(err) != engine.KindExpression {
				t.Errorf("error %v is not a permanent one of kind expression", err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	if _, err := split.New(split.Config{}); err == nil {
		t.Error("a split without a list is accepted")
	}
}

func TestConformance(t *testing.T) {
	newStage := func() engine.Stage {
		s, err := split.New(split.Config{Each: expr.MustParseValue(`body.items`)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id":7,"status":"paid","region":"eu-west","total":5,"items":[{"sku":"tea"}],"note":"x"}`), nil))
}

package route_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/stages/route"
)

var (
	eu    = engine.Target{Name: "eu"}
	us    = engine.Target{Name: "us"}
	audit = engine.Target{Name: "audit", Branch: true}
	cases = []route.Case{
		{When: expr.MustParseBool(`startswith(body.region, "eu")`), To: []engine.Target{eu, audit}},
		{When: expr.MustParseBool(`body.region != "mars"`), To: []engine.Target{us}},
	}
)

func Example() {
	stage, err := route.New(route.Config{Cases: cases, Default: &route.Default{To: []engine.Target{audit}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"region":"eu-west"}`, `{"region":"us"}`, `{"region":"mars"}`} {
		m := engine.NewMessage([]byte(body), nil)
		_ = stage.Process(context.Background(), m, func(m *engine.Message) { fmt.Println(m.Targets()) })
	}
	// Output:
	// [sink.eu pipeline.audit]
	// [sink.us]
	// [pipeline.audit]
}

func TestNew(t *testing.T) {
	condition := cases[0].When
	for name, test := range map[string]struct {
		config route.Config
		want   string
	}{
		"nothing":                 {route.Config{}, "neither a case nor a default"},
		"no condition":            {route.Config{Cases: []route.Case{{To: []engine.Target{eu}}}}, "case 1 has no condition"},
		"case without target":     {route.Config{Cases: []route.Case{cases[0], {When: condition}}}, "case 2 sends to nothing"},
		"default without targets": {route.Config{Default: &route.Default{}}, "default sends to nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := route.New(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// Without a default, a message for which no case holds keeps the choice of an earlier stage.
func TestNoCase(t *testing.T) {
	stage, err := route.New(route.Config{Cases: cases})
	if err != nil {
		t.Fatal(err)
	}
	m := engine.NewMessage([]byte(`{"region":"mars"}`), nil)
	m.SendTo(audit)
	emitted := 0
	if err := stage.Process(context.Background(), m, func(*engine.Message) { emitted++ }); err != nil {
		t.Fatal(err)
	}
	if emitted != 1 || !slices.Equal(m.Targets(), []engine.Target{audit}) {
		t.Errorf("emitted %d times, for %v", emitted, m.Targets())
	}
}

func TestFailure(t *testing.T) {
	stage, err := route.New(route.Config{Cases: cases})
	if err != nil {
		t.Fatal(err)
	}
	m := engine.NewMessage([]byte(`{}`), nil)
	err = stage.Process(context.Background(), m, func(*engine.Message) { t.Error("the message goes on") })
	if !engine.IsPermanent(err) || len(m.Targets()) != 0 {
		t.Errorf("error %v, targets %v", err, m.Targets())
	}
}

func TestConformance(t *testing.T) {
	newStage := func() engine.Stage {
		s, err := route.New(route.Config{Cases: cases, Default: &route.Default{To: []engine.Target{audit}}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id":7,"status":"paid","region":"eu-west","total":5,"items":[{"sku":"tea"}],"note":"x"}`), nil))
}

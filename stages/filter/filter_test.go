package filter_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/stages/filter"
)

func Example() {
	stage, err := filter.New(filter.Config{Keep: expr.MustParseBool(`body.status == "paid"`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"id": 1, "status": "paid"}`, `{"id": 2, "status": "open"}`} {
		m := engine.NewMessage([]byte(body), nil)
		_ = stage.Process(context.Background(), m, func(m *engine.Message) { fmt.Printf("%s\n", m.Body) })
	}
	// Output: {"id": 1, "status": "paid"}
}

func TestNew(t *testing.T) {
	if _, err := filter.New(filter.Config{}); err == nil {
		t.Error("a filter without a condition is accepted")
	}
}

func TestFailure(t *testing.T) {
	stage, err := filter.New(filter.Config{Keep: expr.MustParseBool(`body.total > 5`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{}`, `{"total":"x"}`, `not JSON`, ``} {
		err := stage.Process(context.Background(), engine.NewMessage([]byte(body), nil), func(*engine.Message) {
			t.Errorf("%q was kept", body)
		})
		if !engine.IsPermanent(err) || engine.KindOf(err) != engine.KindExpression {
			t.Errorf("%q: error %v is not a permanent one of kind expression", body, err)
		}
	}
}

func TestConformance(t *testing.T) {
	newStage := func() engine.Stage {
		s, err := filter.New(filter.Config{Keep: expr.MustParseBool(`body.status == "paid"`)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id":7,"status":"paid","region":"eu-west","total":5,"items":[{"sku":"tea"}],"note":"x"}`), nil))
}

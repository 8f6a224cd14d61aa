package mapper_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
	mapper "github.com/pipeamqp/pipe/stages/map"
)

// stage makes a map of the texts of set and unset; an empty one leaves it out.
func stage(set, unset string) (*mapper.Stage, error) {
	var c mapper.Config
	var err error
	if set != "" {
		if c.Set, err = expr.ParseAssignments(set); err != nil {
			return nil, err
		}
	}
	if unset != "" {
		if c.Unset, err = expr.ParsePaths(unset); err != nil {
			return nil, err
		}
	}
	return mapper.New(c)
}

func Example() {
	s, err := stage(`{ body.total_eur = round(body.total * 0.92, 2), msg.headers["x-tier"] = get(body.customer.tier, "none") }`, `[body.note]`)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := engine.NewMessage([]byte(`{"id":7, "total":100.50, "note":"call first"}`), nil)
	err = s.Process(context.Background(), m, func(m *engine.Message) {
		fmt.Printf("%s\n", m.Body)
		fmt.Println(m.Headers.Get("x-tier"))
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"id":7, "total":100.50,"total_eur":92.46}
	// none true
}

func TestNew(t *testing.T) {
	if _, err := mapper.New(mapper.Config{}); err == nil {
		t.Error("a map with nothing to do is accepted")
	}
}

// When anything fails, nothing is changed and nothing goes on.
func TestFailure(t *testing.T) {
	s, err := stage(`{ msg.headers["a"] = "b", body.x = body.missing }`, `[body.note]`)
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"note":"n"}`
	m := engine.NewMessage([]byte(body), nil)
	err = s.Process(context.Background(), m, func(*engine.Message) { t.Error("the message goes on") })
	if !engine.IsPermanent(err) || engine.KindOf(err) != engine.KindExpression {
		t.Errorf("error %v is not a permanent one of kind expression", err)
	}
	if string(m.Body) != body || m.Headers.Len() != 0 {
		t.Errorf("the message has changed: %s, %v", m.Body, m.Headers.Table())
	}
}

// A property that is set leaves the body alone, whatever it is.
func TestBodyUntouched(t *testing.T) {
	s, err := stage(`{ msg.routing_key = "new", msg.type = "t" }`, `[msg.headers["gone"]]`)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("\x00 not JSON")
	m := engine.NewMessage(body, map[string]any{"gone": int8(1), "kept": int16(2)})
	if err := s.Process(context.Background(), m, func(*engine.Message) {}); err != nil {
		t.Fatal(err)
	}
	_, gone := m.Headers.Get("gone")
	kept, _ := m.Headers.Get("kept")
	if m.RoutingKey != "new" || m.Properties.Type != "t" || gone || kept != int16(2) || &m.Body[0] != &body[0] {
		t.Errorf("got %+v", m)
	}
}

func TestConformance(t *testing.T) {
	newStage := func() engine.Stage {
		s, err := stage(`{ body.total_eur = body.total * 2, msg.headers["table"] = { a = 1 }, msg.headers.int8 = 5 }`, `[body.note, msg.headers.void]`)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id":7,"status":"paid","region":"eu-west","total":5,"items":[{"sku":"tea"}],"note":"x"}`), nil))
}

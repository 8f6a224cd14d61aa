package drop_test

import (
	"context"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/stages/drop"
)

func TestDrop(t *testing.T) {
	stage, err := drop.New(drop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	err = stage.Process(context.Background(), engine.NewMessage([]byte("x"), nil), func(*engine.Message) {
		t.Error("the message goes on")
	})
	if err != nil {
		t.Errorf("dropping fails: %v", err)
	}
}

func TestConformance(t *testing.T) {
	newStage := func() engine.Stage {
		s, err := drop.New(drop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id":7,"status":"paid","region":"eu-west","total":5,"items":[{"sku":"tea"}],"note":"x"}`), nil))
}

package drop_test

import (
	"context"
	"testing"

	"github.com/pipeamqp/pipe/engine"
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

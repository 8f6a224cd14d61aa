package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// component returns what has been counted of a component.
func component(t *testing.T, r *engine.Runner, name string) engine.ComponentStats {
	t.Helper()
	for _, c := range r.Components() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no component %s", name)
	return engine.ComponentStats{}
}

// TestGroupsAreCountedByMessage expects that a group counts as the messages that are in it, and those that wait for others as under way.
func TestGroupsAreCountedByMessage(t *testing.T) {
	bubble(t, func() {
		p := one(enginetest.NewSource(messages("a1", "a2", "a3", "b1")...), new(enginetest.Sink))
		p.Stages = []engine.StageNode{groups(engine.Group{Size: 3, Age: time.Hour, Key: byFirstLetter}, gather{})}
		r := runner(t, engine.RunOptions{Measure: true}, p)
		time.AfterFunc(time.Minute, func() {
			if c := component(t, r, "group"); c.Received != 4 || c.Sent != 1 || c.InFlight() != 1 {
				t.Errorf("while b1 waits: %+v, %d under way", c, c.InFlight())
			}
		})
		if err := r.Run(context.Background()); err != nil {
			t.Error(err)
		}
		c := component(t, r, "group")
		if c.Received != 4 || c.Sent != 2 || c.Took.Count() != 2 || c.InFlight() != 0 || c.Finished() != 4 {
			t.Errorf("%+v, %d under way", c, c.InFlight())
		}
		earlier := c
		if c.Add(earlier); c.Received != 8 || c.InFlight() != 0 {
			t.Errorf("with an earlier run: %+v, %d under way", c, c.InFlight())
		}
	})
}

// TestConditionsCount expects that a component whose condition fails is the one whose errors are counted.
func TestConditionsCount(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages("a", "b")...)
		source.Keeps = true
		p := one(source, new(enginetest.Sink), pass)
		p.Stages[0].When = func(m *engine.Message) (bool, error) { return false, failsOn(m, "a") }
		p.Sinks[0].When = func(m *engine.Message) (bool, error) { return true, failsOn(m, "b") }
		r := runner(t, engine.RunOptions{Measure: true}, p)
		if err := r.Run(context.Background()); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"a", "out"} {
			if c := component(t, r, name); c.Errors[engine.KindStage] != 1 || c.Received != 0 || c.InFlight() != 0 {
				t.Errorf("%s: %+v", name, c)
			}
		}
	})
}

func failsOn(m *engine.Message, body string) error {
	if string(m.Body) == body {
		return errors.New("cannot tell")
	}
	return nil
}

// TestStormOfNotes expects that whatever is logged about a message counts as a line of a storm, and that those left out are counted.
func TestStormOfNotes(t *testing.T) {
	bubble(t, func() {
		const n = 100
		source := enginetest.NewSource(messages(slices.Repeat([]string{"x"}, n)...)...)
		source.Keeps = true
		log, said := logged()
		p := one(source, new(enginetest.Sink), failing(errors.New("no")))
		p.Retry = &engine.Retry{Attempts: 2, When: func(*engine.Message) (bool, error) { return false, errors.New("cannot tell") }}
		r := runner(t, engine.RunOptions{Logger: log}, p)
		if err := r.Run(context.Background()); err != nil {
			t.Error(err)
		}
		lines := strings.Count(said.String(), "\n")
		if left := r.Stats()[0].Unlogged; lines > 5 || lines+int(left) != 2*n { // what was wrong, and that When cannot tell
			t.Errorf("%d lines, and %d left out\n%s", lines, left, said)
		}
	})
}

// declining follows no message.
type declining struct{}

func (declining) Process(engine.Attempt) engine.Span { return nil }

func (declining) Group(string, *engine.StageNode, []engine.Span) engine.Span { return nil }

// TestWatchingAllocatesNothing expects that a message which is measured, and which a tracer does not follow, allocates no more than one
// that nobody watches.
func TestWatchingAllocatesNothing(t *testing.T) {
	const n = 64_000
	allocated := testing.AllocsPerRun(3, func() {
		p := chain(&endless{n: n, message: engine.Message{Body: []byte("body")}})
		if err := runner(t, engine.RunOptions{Tracer: declining{}, Measure: true}, p).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if a := allocated / n; a > 1.1 { // as in TestAllocations
		t.Errorf("%.2f allocations a message", a)
	}
}

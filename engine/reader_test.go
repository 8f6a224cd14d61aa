package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// reader is a stage that says that it only reads.
type reader struct{ engine.Stage }

func (reader) OnlyReads() {}

// step is what a stage does in TestReaders.
type step struct {
	Does    string
	OnError engine.OnErrorAction
	Fails   int // the last attempt at which it does
}

// readers are the steps that change nothing.
var readers = []string{"passes", "drops some", "sends", "splits", "emits twice", "decodes"}

func (s step) stage(name string, calls *calls) engine.Stage {
	return stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		switch s.Does {
		case "drops some":
			if strings.HasSuffix(string(m.Body), "3") {
				return nil
			}
		case "sends":
			m.SendTo(engine.Target{Name: "named"})
		case "splits":
			part := m.Clone()
			part.Headers.Set("part", name)
			emit(part)
		case "emits twice":
			emit(m)
		case "decodes":
			calls.check(m)
			m.SetDecoded(&decoded{string(m.Body)})
		case "changes":
			calls.check(m)
			if strings.Contains(string(m.Body), name) || m.RoutingKey == name {
				calls.seen.Store(true)
			}
			d, taken := m.TakeDecoded().(*decoded)
			m.Body = append(slices.Clone(m.Body), name...)
			if taken {
				d.body = string(m.Body)
				m.SetDecoded(d)
			}
			m.Headers.Set(name, string(m.Body))
			m.RoutingKey, m.Properties.Type = name, name
		}
		if calls.count(name, m) <= s.Fails {
			return errors.New("not now")
		}
		emit(m)
		return nil
	})
}

// decoded is what TestReaders decodes of a body; who has it alone changes it.
type decoded struct{ body string }

// calls counts how often a message has come to a component.
type calls struct {
	n     sync.Map
	seen  atomic.Bool // a stage has seen what it did in an earlier attempt
	wrong atomic.Bool // what was decoded of a message is not its body
}

func (c *calls) check(m *engine.Message) {
	if d, ok := m.Decoded().(*decoded); ok && d.body != string(m.Body) {
		c.wrong.Store(true)
	}
}

func (c *calls) count(component string, m *engine.Message) int {
	n, _ := c.n.LoadOrStore(component+" "+m.Properties.MessageID, new(atomic.Int64))
	return int(n.(*atomic.Int64).Add(1))
}

// marking is a tracer that sets headers, as one that propagates a trace does, and follows nothing.
type marking struct{ declining }

func (marking) Process(a engine.Attempt) engine.Span {
	a.Message.Headers.Set("attempt", int64(a.Number))
	return nil
}

// sunk remembers what arrived as a text, and fails at first.
type sunk struct {
	name  string
	fails int // the last attempt at which it does
	calls *calls

	mu  sync.Mutex
	got []string
}

func (s *sunk) Send(_ context.Context, m *engine.Message, done func(error)) {
	s.calls.check(m)
	failed := ""
	if f := m.Failure(); f != nil {
		failed = f.Component
	}
	text := fmt.Sprintf("%s: %s %s %s %s %v %s", s.name, m.Body, m.RoutingKey, m.Properties.MessageID, m.Properties.Type, tableOf(m), failed)
	s.mu.Lock()
	s.got = append(s.got, text)
	s.mu.Unlock()
	if s.calls.count(s.name, m) <= s.fails {
		done(engine.WithKind(engine.KindNacked, errors.New("nacked")))
		return
	}
	time.AfterFunc(time.Millisecond, func() { done(nil) })
}

// tableOf is all of the headers but the times of failures.
func tableOf(m *engine.Message) map[string]any {
	table := map[string]any{}
	for k, v := range m.Headers.All() {
		if k != engine.HeaderFirst && k != engine.HeaderLast {
			table[k] = v
		}
	}
	return table
}

// TestReaders expects that it makes no difference whether a stage says that it only reads: not to what arrives, and not to what another
// attempt begins with.
func TestReaders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				Does:    rapid.SampledFrom(append(slices.Clone(readers), "decodes", "decodes", "changes", "changes", "changes")).Draw(t, "does"),
				OnError: rapid.SampledFrom([]engine.OnErrorAction{engine.OnErrorFail, engine.OnErrorContinue, engine.OnErrorSend}).Draw(t, "on error"),
				Fails:   rapid.SampledFrom([]int{0, 0, 1, 2, 9}).Draw(t, "fails"),
			}
		}), 0, 5).Draw(rt, "steps")
		sinkFails := rapid.SliceOfN(rapid.IntRange(0, 2), 3, 3).Draw(rt, "sinks fail")
		traced := rapid.Bool().Draw(rt, "traced")
		lanes := rapid.SampledFrom([]int{1, 3}).Draw(rt, "lanes")
		run := func(marked bool) (got []string) {
			o := engine.RunOptions{}
			if traced {
				o.Tracer = marking{}
			}
			bubble(t, func() {
				p, sinks := chainOf(steps, sinkFails, marked)
				p.Concurrency = lanes
				ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
				defer cancel()
				if err := runner(t, o, p).Run(ctx); err != nil {
					t.Error(err)
				}
				for _, s := range sinks {
					got = append(got, s.got...)
				}
				if sinks[0].calls.seen.Load() {
					rt.Error("another attempt began with what the last one left")
				}
				if sinks[0].calls.wrong.Load() {
					rt.Error("what was decoded of one message was changed for another")
				}
			})
			slices.Sort(got)
			return got
		}
		plain, marked := run(false), run(true)
		if !slices.Equal(plain, marked) {
			rt.Fatalf("without the mark:\n%s\nwith it:\n%s", strings.Join(plain, "\n"), strings.Join(marked, "\n"))
		}
	})
}

// TestDecodedOnce: what a stage that only reads has decoded goes on to the one that changes it; another attempt begins without.
func TestDecodedOnce(t *testing.T) {
	attempts := 0
	decode := reader{stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if m.Decoded() != nil {
			t.Error("an attempt begins with what the last one decoded")
		}
		m.SetDecoded(new(int))
		emit(m)
		return nil
	})}
	change := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		n, ok := m.TakeDecoded().(*int)
		if !ok || *n != 0 {
			t.Errorf("what was decoded is %v", n)
			return nil
		}
		*n++
		if attempts++; attempts < 3 {
			return errors.New("not now")
		}
		m.SetDecoded(n)
		emit(m)
		return nil
	})
	bubble(t, func() {
		sink := &sunk{name: "out", calls: new(calls)}
		p := &engine.Pipeline{
			Name: "p", Source: enginetest.NewSource(messages("m")...),
			Retry:  &engine.Retry{Attempts: 3, Min: time.Second, Max: time.Second, Factor: 1},
			Stages: []engine.StageNode{{Kind: "test", Name: "decode", Stage: decode}, {Kind: "test", Name: "change", Stage: change}},
			Sinks:  []engine.SinkNode{{Kind: "test", Name: "out", Sink: sink}},
		}
		if err := runner(t, engine.RunOptions{}, p).Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if attempts != 3 {
		t.Errorf("%d attempts", attempts)
	}
}

// chainOf makes a pipeline of the steps with three sinks: one that takes every message, one that takes what is sent to it, and one for
// what has failed.
func chainOf(steps []step, sinkFails []int, marked bool) (*engine.Pipeline, []*sunk) {
	in := messages("m1", "m2", "m3", "m4")
	for i, m := range in {
		m.Properties.MessageID = fmt.Sprint("id", i)
		m.RoutingKey = "key"
		m.Headers.Set("h", "as it came")
	}
	source := enginetest.NewSource(in...)
	source.Chunk = len(in)
	p := &engine.Pipeline{Name: "p", Source: source}
	p.Retry = &engine.Retry{Attempts: 3, Min: time.Second, Max: time.Second, Factor: 1, Then: engine.Target{Name: "failed"}}
	counted := new(calls)
	for i, s := range steps {
		name := fmt.Sprint("s", i)
		node := engine.StageNode{Kind: "test", Name: name, Stage: s.stage(name, counted)}
		if marked && slices.Contains(readers, s.Does) {
			node.Stage = reader{node.Stage}
		}
		node.OnError.Action = s.OnError
		if s.OnError == engine.OnErrorSend {
			node.OnError.Target = engine.Target{Name: "failed"}
		}
		p.Stages = append(p.Stages, node)
	}
	var sinks []*sunk
	for i, name := range []string{"all", "named", "failed"} {
		s := &sunk{name: name, fails: sinkFails[i], calls: counted}
		sinks = append(sinks, s)
		p.Sinks = append(p.Sinks, engine.SinkNode{Kind: "test", Name: name, Sink: s, Named: name != "all"})
	}
	return p, sinks
}

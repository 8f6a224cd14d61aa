package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

func named(name string, s engine.Sink) engine.SinkNode {
	n := sinkNode(name, s)
	n.Named = true
	return n
}

func sendTo(targets ...engine.Target) engine.Stage {
	return stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		m.SendTo(targets...)
		emit(m)
		return nil
	})
}

// TestTargets expects that a message goes to every sink without a name, and to the targets that it was sent to.
func TestTargets(t *testing.T) {
	var all, eu, us, audit enginetest.Sink
	branch := &engine.Pipeline{Name: "audit", Sinks: []engine.SinkNode{sinkNode("out", &audit)}, Stages: stages(
		stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
			if m.Targets() != nil {
				t.Error("the targets of one pipeline are those of another")
			}
			m.Headers.Set("audited", true)
			emit(m)
			return nil
		}))}
	source := enginetest.NewSource(messages("x")...)
	p := one(source, &all, sendTo(engine.Target{Name: "eu"}, engine.Target{Branch: true, Name: "audit"}))
	p.Sinks = append(p.Sinks, named("eu", &eu), named("us", &us))
	stats := run(t, p, branch)
	settledAs(t, source, engine.Ack)
	for name, s := range map[string]*enginetest.Sink{"all": &all, "eu": &eu, "us": &us, "audit": &audit} {
		got := s.Received()
		if (len(got) == 1) == (name == "us") {
			t.Errorf("%s got %d messages", name, len(got))
		}
		for _, m := range got {
			if _, ok := m.Headers.Get("audited"); ok != (name == "audit") {
				t.Errorf("%s: a copy shares headers with another", name)
			}
		}
	}
	if stats.Out != 3 || stats.In != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestUnmatched(t *testing.T) {
	never := engine.Options{When: func(*engine.Message) (bool, error) { return false, nil }}
	for _, dropped := range []bool{false, true} {
		source, sink := enginetest.NewSource(messages("x")...), new(enginetest.Sink)
		source.Keeps = true
		p := one(source, sink)
		p.Sinks[0].Options, p.DropUnmatched = never, dropped
		stats := run(t, p)
		want := map[bool]engine.Outcome{false: engine.Reject, true: engine.Ack}[dropped]
		settledAs(t, source, want)
		if (stats.Dropped == 1) != dropped || len(sink.Received()) != 0 {
			t.Errorf("%+v", stats)
		}
	}
}

func TestUnknownTarget(t *testing.T) {
	for _, to := range []engine.Target{{Name: "nowhere"}, {Branch: true, Name: "nowhere"}} {
		source := enginetest.NewSource(messages("x")...)
		source.Keeps = true
		log, said := logged()
		p := one(source, new(enginetest.Sink), sendTo(to))
		if err := runner(t, engine.RunOptions{Logger: log}, p).Run(t.Context()); err != nil {
			t.Error(err)
		}
		settledAs(t, source, engine.Reject)
		if !strings.Contains(said.String(), to.String()) || !strings.Contains(said.String(), "kind=unroutable") {
			t.Error(said)
		}
	}
}

// TestBranchesThatLeadToEachOther expects an end.
func TestBranchesThatLeadToEachOther(t *testing.T) {
	branch := func(name, to string) *engine.Pipeline {
		return &engine.Pipeline{Name: name, Stages: stages(sendTo(engine.Target{Branch: true, Name: to}))}
	}
	source := enginetest.NewSource(messages("x")...)
	source.Keeps = true
	p := one(source, new(enginetest.Sink), sendTo(engine.Target{Branch: true, Name: "a"}))
	run(t, p, branch("a", "b"), branch("b", "a"))
	settledAs(t, source, engine.Reject)
}

// TestPanics expects that a panic is a failure of its message, told with its place, and of no other.
func TestPanics(t *testing.T) {
	panicking := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if string(m.Body) == "bad" {
			panic("no such thing")
		}
		emit(m)
		return nil
	})
	emitsNil := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if string(m.Body) == "bad" {
			emit(nil)
		}
		emit(m)
		return nil
	})
	for _, stage := range []engine.Stage{panicking, emitsNil} {
		for _, lanes := range []int{1, 3} {
			source, sink := enginetest.NewSource(messages("a", "bad", "b")...), new(enginetest.Sink)
			source.Keeps = true
			log, said := logged()
			p := one(source, sink, stage)
			p.Concurrency = lanes
			if err := runner(t, engine.RunOptions{Logger: log}, p).Run(t.Context()); err != nil {
				t.Error(err)
			}
			settledAs(t, source, engine.Ack, engine.Reject, engine.Ack)
			if got := bodies(sink.Received()); got != "a b" {
				t.Errorf("sent: %s", got)
			}
			for _, want := range []string{"kind=panic", "component=test.a", "engine_test.go", "rejected"} {
				if !strings.Contains(said.String(), want) {
					t.Errorf("no %q in %s", want, said)
				}
			}
		}
	}
}

// sourceFunc is a source.
type sourceFunc func(context.Context, func([]engine.Delivery)) error

func (f sourceFunc) Run(ctx context.Context, next func([]engine.Delivery)) error { return f(ctx, next) }

// TestSourceFails expects that a source that fails ends its own pipeline, and that what it has handed over is settled.
func TestSourceFails(t *testing.T) {
	for name, end := range map[string]func() error{
		"error": func() error { return errors.New("the queue has gone") },
		"panic": func() error { panic("the queue has gone") },
	} {
		t.Run(name, func(t *testing.T) {
			inner, sink := enginetest.NewSource(messages("x")...), &enginetest.Sink{Later: true}
			failing := sourceFunc(func(ctx context.Context, next func([]engine.Delivery)) error {
				handed := make(chan struct{})
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				go func() { _ = inner.Run(ctx, func(d []engine.Delivery) { next(d); close(handed) }) }()
				<-handed
				return end()
			})
			other, otherSink := enginetest.NewSource(messages("y")...), new(enginetest.Sink)
			well := one(other, otherSink)
			well.Name = "well"
			r := runner(t, engine.RunOptions{}, one(failing, sink), well)
			ended := make(chan error)
			go func() { ended <- r.Run(t.Context()) }()
			for sink.Waiting() == 0 { // the source has handed over
			}
			if _, ok := inner.Outcome(0); ok {
				t.Error("settled while the outcome is owed")
			}
			sink.Release()
			err := <-ended
			if err == nil || !strings.Contains(err.Error(), "the queue has gone") || !strings.Contains(err.Error(), `pipeline "p"`) {
				t.Errorf("%v", err)
			}
			settledAs(t, inner, engine.Ack)
			settledAs(t, other, engine.Ack)
		})
	}
}

// lifecycle is a component that notes when it starts and ends.
type lifecycle struct {
	name string
	log  *[]string
	err  error
}

func (l *lifecycle) Start(context.Context) error {
	*l.log = append(*l.log, "start "+l.name)
	return l.err
}

func (l *lifecycle) Close(context.Context) error {
	*l.log = append(*l.log, "close "+l.name)
	return nil
}

func TestStartAndClose(t *testing.T) {
	for _, fails := range []bool{false, true} {
		var log []string
		type sinkWith struct {
			engine.Sink
			*lifecycle
		}
		type stageWith struct {
			engine.Stage
			*lifecycle
		}
		l := func(name string) *lifecycle { return &lifecycle{name: name, log: &log} }
		second := l("second")
		if fails {
			second.err = errors.New("does not start")
		}
		source := enginetest.NewSource(messages("x")...)
		p := one(source, sinkWith{new(enginetest.Sink), l("sink")}, stageWith{pass, l("first")}, stageWith{pass, second})
		err := runner(t, engine.RunOptions{}, p).Run(t.Context())
		want := "start sink, start first, start second, close second, close first, close sink"
		if fails {
			want = "start sink, start first, start second, close first, close sink"
		}
		if got := strings.Join(log, ", "); got != want {
			t.Errorf("%s, not %s", got, want)
		}
		if (err != nil) != fails || fails && (!strings.Contains(err.Error(), "test.b") || source.Deliveries(0) != 0) {
			t.Errorf("%v", err)
		}
	}
}

// TestPipelinesThatDoNotFit expects every mistake in one error.
func TestPipelinesThatDoNotFit(t *testing.T) {
	source, sink := enginetest.NewSource(), new(enginetest.Sink)
	sends := func(t engine.Target) engine.Options {
		return engine.Options{OnError: engine.OnError{Action: engine.OnErrorSend, Target: t}}
	}
	for want, p := range map[string]*engine.Pipeline{
		`two sinks are named "out"`:       {Source: source, Sinks: []engine.SinkNode{sinkNode("out", sink), sinkNode("out", sink)}},
		`sink "out" is nil`:               {Source: source, Sinks: []engine.SinkNode{{Name: "out"}}},
		`order by key without a key`:      {Source: source, Order: engine.OrderByKey},
		`either a stage or an aggregator`: {Source: source, Stages: []engine.StageNode{{}}},
		`needs an age`:                    {Source: source, Stages: []engine.StageNode{{Aggregator: gather{}}}},
		`sink.none, which is not a sink`:  {Source: source, Stages: []engine.StageNode{{Stage: pass, Options: sends(engine.Target{Name: "none"})}}},
		`leads back to itself`: {Source: source, Sinks: []engine.SinkNode{
			{Name: "a", Sink: sink, Options: sends(engine.Target{Name: "b"})},
			{Name: "b", Sink: sink, Options: sends(engine.Target{Name: "a"})},
		}},
		`pipeline.p, which is not a sink`: {Source: source, Sinks: []engine.SinkNode{
			{Name: "a", Sink: sink, Options: sends(engine.Target{Branch: true, Name: "p"})},
		}},
		`no pipeline has a source`: {},
	} {
		p.Name = "p"
		if _, err := engine.NewRunner(engine.RunOptions{}, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
	_, err := engine.NewRunner(engine.RunOptions{}, one(source, sink), one(source, sink))
	if err == nil || !strings.Contains(err.Error(), `two pipelines are named "p"`) {
		t.Error(err)
	}
}

// TestConditionsThatPanic expects that they fail their message, and no other.
func TestConditionsThatPanic(t *testing.T) {
	when := engine.Options{When: func(m *engine.Message) (bool, error) { return m.Body[0] != 'x', nil }}
	key := func(m *engine.Message) (string, error) { return string(m.Body[0]), nil }
	for name, change := range map[string]func(*engine.Pipeline){
		"of a stage": func(p *engine.Pipeline) { p.Stages[1].Options = when },
		"of a sink":  func(p *engine.Pipeline) { p.Sinks[0].Options = when },
		"order key":  func(p *engine.Pipeline) { p.Order, p.OrderKey = engine.OrderByKey, key },
		"group key": func(p *engine.Pipeline) {
			p.Stages = append(p.Stages, groups(engine.Group{Size: 1, Age: 1, Key: key}, gather{}))
		},
	} {
		for _, lanes := range []int{1, 4} {
			if name == "order key" && lanes == 1 {
				continue // nobody asks for the key
			}
			source, sink := enginetest.NewSource(messages("a", "", "b")...), new(enginetest.Sink)
			source.Keeps = true
			p := one(source, sink, pass, pass)
			p.Concurrency = lanes
			change(p)
			run(t, p)
			settledAs(t, source, engine.Ack, engine.Reject, engine.Ack)
			if got := bodies(sink.Received()); got != "a b" && p.Order == engine.OrderStrict {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

func TestOrderKeyFails(t *testing.T) {
	source := enginetest.NewSource(messages("a", "", "b")...)
	source.Keeps = true
	p := one(source, new(enginetest.Sink))
	p.Order, p.OrderKey, p.Concurrency = engine.OrderByKey, byFirstLetter, 2
	run(t, p)
	settledAs(t, source, engine.Ack, engine.Reject, engine.Ack)
}

// TestStorm expects that a storm of failures does not become a storm of logs.
func TestStorm(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages(slices.Repeat([]string{"x"}, 1000)...)...)
		source.Keeps = true
		log, said := logged()
		if err := runner(t, engine.RunOptions{Logger: log}, one(source, new(enginetest.Sink), failing(errors.New("no")))).Run(context.Background()); err != nil {
			t.Error(err)
		}
		if n := strings.Count(said.String(), "\n"); n != 5 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestClone(t *testing.T) {
	m := engine.NewMessage([]byte("body"), map[string]any{"a": 1, "b": 2})
	c := m.Clone()
	c.Headers.Set("a", 10)
	m.Headers.Delete("b")
	c.Body = []byte("other")
	if a, _ := m.Headers.Get("a"); a != 1 || m.Headers.Len() != 1 || string(m.Body) != "body" {
		t.Errorf("the clone has changed its origin: %v", m.Headers.Table())
	}
	if b, _ := c.Headers.Get("b"); b != 2 || c.Headers.Len() != 2 {
		t.Errorf("the origin has changed its clone: %v", c.Headers.Table())
	}
	var none engine.Message
	none.Headers.Delete("x")
	if none.Headers.Len() != 0 {
		t.Error("deleting adds")
	}
	none.Headers.Set("x", nil)
	if v, ok := none.Headers.Get("x"); !ok || v != nil {
		t.Error("a void header is not there")
	}
}

func TestDecoded(t *testing.T) {
	m := engine.NewMessage([]byte(`{"a":1}`), nil)
	if m.Decoded() != nil {
		t.Error("nobody has decoded it")
	}
	m.SetDecoded("decoded")
	if m.Decoded() != "decoded" || m.Clone().Decoded() != "decoded" {
		t.Error("it is forgotten")
	}
	m.Body = []byte(`{"a":1}`)
	if m.Decoded() != nil {
		t.Error("it is kept for another body")
	}
	m.SetDecoded("again")
	m.Body = m.Body[:3]
	if m.Decoded() != nil {
		t.Error("it is kept for a part of the body")
	}
	m.Body = nil
	m.SetDecoded("of nothing")
	if m.Decoded() != "of nothing" {
		t.Error("an empty body is not known again")
	}
}

func TestTakeDecoded(t *testing.T) {
	m := engine.NewMessage([]byte("x"), nil)
	if m.TakeDecoded() != nil {
		t.Error("nobody has decoded it")
	}
	m.SetDecoded("decoded")
	if m.TakeDecoded() != "decoded" || m.Decoded() != nil || m.TakeDecoded() != nil {
		t.Error("it is not given up to the first who takes it")
	}
	m.SetDecoded("shared")
	c := m.Clone()
	if m.TakeDecoded() != nil || c.TakeDecoded() != nil || m.Decoded() != "shared" || c.Decoded() != "shared" {
		t.Error("one of two takes what both have")
	}
	c.SetDecoded("its own")
	if c.TakeDecoded() != "its own" || m.TakeDecoded() != nil {
		t.Error("what a clone has decoded since is not its own")
	}
	m.SetDecoded("of another body")
	m.Body = []byte("y")
	if m.TakeDecoded() != nil {
		t.Error("it is taken for another body")
	}
}

func TestErrors(t *testing.T) {
	base := errors.New("base")
	wrapped := fmt.Errorf("outer: %w", engine.Permanent(engine.WithKind(engine.KindSchema, base)))
	for _, test := range []struct {
		err       error
		kind      engine.Kind
		permanent bool
	}{
		{base, engine.KindStage, false},
		{engine.Permanent(base), engine.KindStage, true},
		{engine.WithKind(engine.KindTimeout, base), engine.KindTimeout, false},
		{wrapped, engine.KindSchema, true},
		{engine.WithKind(engine.KindNacked, wrapped), engine.KindNacked, true},
	} {
		if engine.KindOf(test.err) != test.kind || engine.IsPermanent(test.err) != test.permanent || !errors.Is(test.err, base) {
			t.Errorf("%v: %s, %v", test.err, engine.KindOf(test.err), engine.IsPermanent(test.err))
		}
	}
	if engine.Permanent(nil) != nil || engine.WithKind(engine.KindStage, nil) != nil || engine.IsPermanent(nil) {
		t.Error("nil is an error")
	}
}

func TestRegistry(t *testing.T) {
	type config struct{ N int }
	var r engine.Registry
	r.Stage("pass", func(c config) (stageFunc, error) {
		if c.N < 0 {
			return nil, errors.New("n is negative")
		}
		return pass, nil
	})
	r.Sink("memory", func(config) (*enginetest.Sink, error) { return new(enginetest.Sink), nil })
	r.Source("memory", func(config) (*enginetest.Source, error) { return enginetest.NewSource(), nil })
	r.Aggregator("gather", func(config) (engine.Aggregator, error) { return gather{}, nil })
	if got := r.Kinds(engine.RoleStage); !slices.Equal(got, []string{"pass"}) {
		t.Error(got)
	}
	c, ok := r.Lookup(engine.RoleStage, "pass")
	if !ok || c.Config.Name() != "config" {
		t.Fatalf("%+v", c)
	}
	if s, err := c.New(config{1}); err != nil || s.(engine.Stage) == nil {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := c.New(config{-1}); err == nil || err.Error() != "n is negative" {
		t.Error(err)
	}
	if _, ok := r.Lookup(engine.RoleSink, "pass"); ok {
		t.Error("a stage is a sink")
	}
	for name, register := range map[string]func(){
		"twice":            func() { r.Stage("pass", func(config) (engine.Stage, error) { return pass, nil }) },
		"nil":              func() { r.Stage("x", nil) },
		"no function":      func() { r.Stage("x", 5) },
		"another type":     func() { r.Stage("x", func(config) (engine.Sink, error) { return nil, nil }) },
		"no struct":        func() { r.Stage("x", func(int) (engine.Stage, error) { return pass, nil }) },
		"no error":         func() { r.Stage("x", func(config) engine.Stage { return pass }) },
		"further argument": func() { r.Stage("x", func(config, int) (engine.Stage, error) { return pass, nil }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			register()
		}()
	}
}

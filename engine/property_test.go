package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// TestEveryDeliveryIsSettledRightly runs random pipelines on random messages with everything going wrong, and compares what
// happened with a reference: each delivery is settled once; as a success only when everything that it became has arrived.
func TestEveryDeliveryIsSettledRightly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var h *history
		bubble(t, func() { h = p.run() })
		if mistakes := h.check(); len(mistakes) > 0 {
			rt.Fatalf("%s\nthe plan: %+v", strings.Join(mistakes, "\n"), *p)
		}
	})
}

// bubble runs f in a bubble of package synctest, where time passes when all wait.
func bubble(t *testing.T, f func()) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { f() })
	// conc/stream keeps channels in a sync.Pool, and a channel of one bubble cannot be used in another: two collections empty
	// the pool.
	runtime.GC()
	runtime.GC()
}

// history is what happened in a run.
type history struct {
	plan   *plan
	source *enginetest.Source
	stats  engine.PipelineStats
	err    error

	mu       sync.Mutex
	now      int // counts events
	handed   map[delivery]*settlement
	tries    map[delivery]int
	arrivals map[attempt][]*arrived
	order    map[string][]identity // at each sink
	stopped  bool
}

type delivery struct{ root, n int }

type settlement struct {
	times   int
	outcome engine.Outcome
	at      int
	excused bool // the session or the run had ended
}

type arrived struct {
	arrival
	at, told int // 0: not told
}

func (h *history) event() int {
	h.now++
	return h.now
}

// run runs the plan.
func (p *plan) run() *history {
	h := &history{
		plan: p, source: enginetest.NewSource(), handed: make(map[delivery]*settlement), tries: make(map[delivery]int),
		arrivals: make(map[attempt][]*arrived), order: make(map[string][]identity),
	}
	h.source.Chunk, h.source.Keeps = p.chunk, p.keeps
	for i := range p.messages {
		h.source.Add(engine.NewMessage(nil, map[string]any{"root": i}))
	}
	var pipelines []*engine.Pipeline
	for i := range p.pipelines {
		pipelines = append(pipelines, h.pipeline(&p.pipelines[i], i == 0))
	}
	runner, err := engine.NewRunner(engine.RunOptions{}, pipelines...)
	if err != nil {
		h.err = err
		return h
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, ms := range p.breaks {
		defer time.AfterFunc(time.Duration(ms)*time.Millisecond, h.source.Break).Stop()
	}
	end := 10 * time.Minute // some messages never go well
	if p.stop > 0 {
		end = time.Duration(p.stop) * time.Millisecond
	}
	defer time.AfterFunc(end, func() {
		h.mu.Lock()
		h.stopped = true
		h.mu.Unlock()
		cancel()
	}).Stop()
	h.err = runner.Run(ctx)
	h.stats = runner.Stats()[0]
	return h
}

func (h *history) pipeline(p *planned, first bool) *engine.Pipeline {
	out := &engine.Pipeline{Name: p.name, DropUnmatched: p.dropUnmatched}
	if first {
		out.Source, out.Order, out.Concurrency = watchedSource{h.source, h}, h.plan.order, h.plan.lanes
		out.OrderKey = func(m *engine.Message) (string, error) { return fmt.Sprint(key(rootOf(m))), nil }
		out.Stages = append(out.Stages, engine.StageNode{Kind: "test", Name: "stamp", Stage: stageFunc(h.stamp)})
	}
	for i := range p.stages {
		s := &p.stages[i]
		out.Stages = append(out.Stages, engine.StageNode{
			Kind: "test", Name: s.name, Stage: &actor{h, s},
			Options: h.options(s.troubleOptions, s.name, s.slots, s.onError, p.sinks[s.errorTo].name),
		})
	}
	for i := range p.sinks {
		s := &p.sinks[i]
		to := ""
		if s.onError == engine.OnErrorSend {
			to = p.sinks[s.errorTo].name
		}
		out.Sinks = append(out.Sinks, engine.SinkNode{
			Kind: "test", Name: s.name, Sink: &ender{h, s}, Named: s.named,
			Options: h.options(s.troubleOptions, s.name, s.slots, s.onError, to),
		})
	}
	return out
}

func (h *history) options(o troubleOptions, name string, slots int, action engine.OnErrorAction, to string) engine.Options {
	options := engine.Options{Concurrency: slots, OnError: engine.OnError{Action: action}}
	if action == engine.OnErrorSend {
		options.OnError.Target = engine.Target{Name: to}
	}
	if o.when {
		options.When = func(m *engine.Message) (bool, error) {
			switch h.plan.condition(o, name, identityOf(m)) {
			case applies:
				return true, nil
			case skips:
				return false, nil
			}
			return false, errors.New("cannot tell")
		}
	}
	return options
}

// key is what messages are ordered by.
func key(root int) int { return root % 3 }

func rootOf(m *engine.Message) int { return get[int](m, "root") }

func get[T any](m *engine.Message, name string) T {
	v, _ := m.Headers.Get(name)
	value, _ := v.(T)
	return value
}

func identityOf(m *engine.Message) identity {
	return identity{attempt{rootOf(m), get[int](m, "delivery"), get[int](m, "try")}, get[string](m, "trail")}
}

// watchedSource keeps a record of how deliveries are settled.
type watchedSource struct {
	*enginetest.Source
	h *history
}

func (s watchedSource) Run(ctx context.Context, next func([]engine.Delivery)) error {
	return s.Source.Run(ctx, func(chunk []engine.Delivery) {
		for i := range chunk {
			d := &chunk[i]
			root := rootOf(d.Message)
			id := delivery{root, s.Deliveries(root)}
			d.Message.Headers.Set("delivery", id.n)
			s.h.mu.Lock()
			s.h.handed[id] = &settlement{}
			s.h.mu.Unlock()
			d.Settler = &watchedSettler{d.Settler, s.h, id}
		}
		next(chunk)
	})
}

type watchedSettler struct {
	engine.Settler
	h  *history
	id delivery
}

func (s *watchedSettler) Settle(tag uint64, o engine.Outcome) {
	stale := s.Stale()
	s.h.mu.Lock()
	was := s.h.handed[s.id]
	was.times++
	was.outcome, was.at = o, s.h.event()
	was.excused = stale || s.h.stopped
	s.h.mu.Unlock()
	s.Settler.Settle(tag, o)
}

type stageFunc func(context.Context, *engine.Message, func(*engine.Message)) error

func (f stageFunc) Process(ctx context.Context, m *engine.Message, emit func(*engine.Message)) error {
	return f(ctx, m, emit)
}

// stamp counts the attempts.
func (h *history) stamp(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	id := delivery{rootOf(m), get[int](m, "delivery")}
	h.mu.Lock()
	h.tries[id]++
	try := h.tries[id]
	h.mu.Unlock()
	m.Headers.Set("try", try)
	emit(m)
	return nil
}

// actor is a stage that does what the plan says, in its own time.
type actor struct {
	h *history
	s *plannedStage
}

func (a *actor) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	id := identityOf(m)
	p := a.h.plan
	time.Sleep(time.Duration(p.chance(3, "takes", a.s.name, id)) * time.Millisecond)
	m.Headers.Set("trail", id.trail+"/"+a.s.name)
	switch p.doing(a.s, id) {
	case drops:
		return nil
	case splits:
		for k, part := range []*engine.Message{m.Clone(), m, m.Clone()} {
			part.Headers.Set("trail", fmt.Sprint(id.trail, "/", a.s.name, "#", k))
			emit(part)
		}
		return nil
	case sends:
		m.SendTo(p.target(a.s, id)...)
	case fails:
		return errors.New("fails")
	case failsForGood:
		return engine.Permanent(errors.New("fails for good"))
	case panics:
		panic("a stage panics")
	case emitsAndFails:
		emit(m)
		return errors.New("fails after all")
	}
	emit(m)
	return nil
}

// ender is a sink that ends messages as the plan says, in its own time.
type ender struct {
	h *history
	s *plannedSink
}

func (e *ender) Send(ctx context.Context, m *engine.Message, done func(error)) {
	id := identityOf(m)
	p := e.h.plan
	a := &arrived{arrival: arrival{e.s.name, id}}
	e.h.mu.Lock()
	a.at = e.h.event()
	e.h.arrivals[id.attempt] = append(e.h.arrivals[id.attempt], a)
	if m.Failure() == nil {
		e.h.order[e.s.name] = append(e.h.order[e.s.name], id)
	}
	e.h.mu.Unlock()
	tell := func(err error) {
		e.h.mu.Lock()
		if a.told == 0 {
			a.told = e.h.event()
		}
		e.h.mu.Unlock()
		done(err)
	}
	var err error
	switch p.ending(e.s, id) {
	case keepsQuiet:
		return
	case breaksDown:
		e.h.mu.Lock()
		a.told = e.h.event()
		e.h.mu.Unlock()
		panic("a sink panics")
	case refuses:
		err = engine.Permanent(engine.WithKind(engine.KindUnroutable, errors.New("refused")))
	case loses:
		err = engine.WithKind(engine.KindConnection, errors.New("lost"))
	}
	switch p.chance(6, "tells", e.s.name, id) {
	case 0:
		tell(err)
		tell(errors.New("told before")) // the first counts
	case 1:
		tell(err)
		panic("a sink panics after all is told")
	case 2, 3:
		time.AfterFunc(time.Duration(p.chance(50, "late", e.s.name, id))*time.Millisecond, func() { tell(err) })
	default:
		tell(err)
	}
}

// check returns what is wrong.
func (h *history) check() []string {
	var mistakes []string
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	if h.err != nil {
		wrong("Run: %v", h.err)
		return mistakes
	}
	for d, s := range h.handed {
		if s.times != 1 {
			wrong("%v was settled %d times", d, s.times)
			continue
		}
		h.checkDelivery(d, s, wrong)
	}
	if n := h.source.Twice(); n > 0 {
		wrong("%d were settled twice", n)
	}
	if s := h.stats; s.In != s.Acked+s.Rejected+s.Abandoned || s.InFlight != 0 || s.In != int64(len(h.handed)) {
		wrong("the counters do not add up: %+v, %d deliveries", s, len(h.handed))
	}
	h.checkOrder(wrong)
	return mistakes
}

func (h *history) checkDelivery(d delivery, s *settlement, wrong func(string, ...any)) {
	last := attempt{d.root, d.n, h.tries[d]}
	for try := 1; try < last.try; try++ {
		a := attempt{d.root, d.n, try}
		if f := h.plan.reference(a); !f.failed {
			wrong("%v went well and was tried again", a)
		}
		h.checkArrivals(a, wrong)
	}
	if last.try > 0 {
		h.checkArrivals(last, wrong)
	}
	f := h.plan.reference(last)
	switch s.outcome {
	case engine.Ack:
		if last.try == 0 || f.failed || f.quiet {
			wrong("%v was acknowledged, and it is %+v", last, f)
		}
		for _, a := range h.arrivals[last] {
			if a.told == 0 || a.told > s.at {
				wrong("%v was acknowledged before the outcome of %+v", last, a.arrival)
			}
		}
		if len(h.arrivals[last]) != len(f.sent) {
			wrong("%v was acknowledged with %d of %d sent", last, len(h.arrivals[last]), len(f.sent))
		}
	case engine.Reject:
		if !h.plan.keeps || !f.failed || f.passes {
			wrong("%v was rejected, and it is %+v", last, f)
		}
	case engine.Abandon:
		if !s.excused {
			wrong("%v was abandoned for no reason", last)
		}
	default:
		wrong("%v was settled with %s", last, s.outcome)
	}
	if s.outcome != engine.Abandon {
		for _, a := range h.arrivals[last] {
			if a.at > s.at {
				wrong("%v was sent after %v was settled", a.arrival, last)
			}
		}
	}
}

// checkArrivals compares what was sent with what should have been.
func (h *history) checkArrivals(a attempt, wrong func(string, ...any)) {
	var got, want []string
	for _, x := range h.arrivals[a] {
		got = append(got, fmt.Sprint(x.arrival))
	}
	for _, x := range h.plan.reference(a).sent {
		want = append(want, fmt.Sprint(x))
	}
	slices.Sort(got)
	slices.Sort(want)
	if h.plan.stop > 0 { // what is stopped may not be sent any more, and what never confirms may be in the way of others
		if h.plan.never {
			return
		}
		for _, g := range got {
			if !slices.Contains(want, g) {
				wrong("%v became %s, which it should not", a, g)
			}
		}
		return
	}
	if !slices.Equal(got, want) {
		wrong("%v became\n  %v, not\n  %v", a, got, want)
	}
}

// checkOrder looks at first attempts only: what is tried again comes later.
func (h *history) checkOrder(wrong func(string, ...any)) {
	if h.plan.order == engine.OrderNone && h.plan.lanes > 1 || len(h.plan.breaks) > 0 {
		return
	}
	for sink, ids := range h.order {
		latest := map[int]int{}
		for _, id := range ids {
			if id.age() > 1 {
				continue
			}
			k := 0
			if h.plan.order == engine.OrderByKey && h.plan.lanes > 1 {
				k = key(id.root)
			}
			if id.root < latest[k] {
				wrong("at %s message %d came after %d", sink, id.root, latest[k])
			}
			latest[k] = id.root
		}
	}
}

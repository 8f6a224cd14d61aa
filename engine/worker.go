package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/sourcegraph/conc/panics"
)

// worker takes messages through the stages of a pipeline and collects what is to be sent. It belongs
// to one goroutine at a time and keeps its buffers from message to message.
//
// This is the hot path: between a delivery and its sends nothing locks, hops to another goroutine or
// allocates more than a copy for each further recipient. BenchmarkChain watches it.
type worker struct {
	run *run
	// e is the entry at work, and input the message that the current stage was handed.
	e     *entry
	input *Message
	again bool       // the current stage has emitted its input
	buf   []*Message // what stages emitted: a stack, one frame a stage
	sends []send     // what is to be sent, in order
	done  []*entry   // whose processing is over once sends has been sent
	// stopAt is the stage of the run's own graph before which messages wait in parked.
	stopAt int
	parked []*Message
	emit   func(*Message)
	to     []recipient
	corked []Corker
	depth  int       // branches inside branches
	copies []Message // room for copies of inputs
	ahead  int       // how many entries are likely to need one, that at work included
}

// send is one message for one sink.
type send struct {
	sink *sink
	m    *Message
}

// recipient is a sink or a branch that takes a message; the zero value stands for a sink whose
// failure to decide was tolerated.
type recipient struct {
	sink   *sink
	branch *graph
}

func newWorker(r *run) *worker {
	w := &worker{run: r, stopAt: -1}
	w.emit = w.emitted
	return w
}

// emitted is the emit that stages call.
func (w *worker) emitted(m *Message) {
	if m == nil {
		panic("emit was called with nil")
	}
	if m == w.input {
		if w.again {
			m = m.Clone()
		}
		w.again = true
	}
	m.entry = w.e
	w.buf = append(w.buf, m)
}

// process takes the message of an entry through all stages. Whatever fails, nothing of the message
// is sent; nor is a message that the source will deliver again anyway.
func (w *worker) process(e *entry) {
	w.e = e
	w.done = append(w.done, e)
	if e.settler.Stale() {
		e.settle(Abandon)
		return
	}
	mark := len(w.sends)
	if f := w.guarded(func() *Failure { return w.step(w.run.graph, 0, e.message) }); f != nil {
		w.undo(e, mark)
		clear(w.parked)
		w.parked = w.parked[:0]
		e.fail(f)
		return
	}
	if len(w.parked) == 0 {
		e.found()
	}
}

// resume takes the parked messages on from where they waited.
func (w *worker) resume() {
	parked := w.parked
	if len(parked) == 0 {
		return
	}
	w.parked = nil
	stopAt := w.stopAt
	w.stopAt = -1
	mark := len(w.sends)
	for _, m := range parked {
		if f := w.guarded(func() *Failure { return w.step(w.run.graph, stopAt, m) }); f != nil {
			w.undo(w.e, mark)
			w.e.fail(f)
			break
		}
	}
	w.stopAt = stopAt
	w.parked = parked[:0]
	clear(parked)
	w.e.found()
}

// guarded runs f; a panic in it, as in a condition, is a failure of the entry at work.
func (w *worker) guarded(f func() *Failure) (failure *Failure) {
	top := len(w.buf)
	defer func() {
		if v := recover(); v != nil {
			w.pop(top)
			failure = newFailure(panicked(v), "pipeline."+w.run.graph.name, w.e.attempt, nil)
		}
	}()
	return f()
}

// undo takes back what an entry was about to send. What a group sends meanwhile stays.
func (w *worker) undo(e *entry, mark int) {
	kept := w.sends[:mark]
	for _, s := range w.sends[mark:] {
		if s.m.entry != e {
			kept = append(kept, s)
		}
	}
	clear(w.sends[len(kept):])
	w.sends = kept
}

// step takes a message through the stages of g from the i-th on. A failure that it returns concerns
// the whole entry at work.
func (w *worker) step(g *graph, i int, m *Message) *Failure {
	if i == w.stopAt && g == w.run.graph {
		w.parked = append(w.parked, m)
		return nil
	}
	if i == len(g.stages) {
		return w.deliver(g, m)
	}
	s := g.stages[i]
	if applies, err := s.applies(m); err != nil {
		s.meter.fail(err)
		return w.stageFailed(g, i, m, err)
	} else if !applies {
		return w.step(g, i+1, m)
	}
	before := m
	if !s.reads {
		m = w.own(m)
	}
	if s.node.Aggregator != nil {
		return w.join(g, i, m)
	}
	if s.keepsInput && before == m {
		before = m.Clone()
	}
	start, id := len(w.buf), m.Properties.MessageID
	w.input, w.again = m, false
	if err := w.watched(g, s, m); err != nil {
		w.pop(start)
		return w.stageFailed(g, i, before, err)
	}
	switch len(w.buf) - start {
	case 0:
		w.run.stats.dropped.Add(1)
		return nil
	case 1:
	default:
		w.giveIDs(id, w.buf[start:])
	}
	return w.stepAll(g, i+1, start)
}

// watched calls a stage and has it measured and traced. Where neither is asked for, that costs two comparisons.
func (w *worker) watched(g *graph, s *stage, m *Message) error {
	ctx, span, before := w.run.ctx, w.e.span(), len(w.buf)
	if span != nil {
		span = span.Stage(g.name, s.node, m)
		ctx = span.Context(ctx)
	}
	s.meter.receive()
	began := s.meter.now()
	err := s.call(ctx, w, m)
	sent := len(w.buf) - before
	s.meter.stop(began, 1, sent, err, span)
	if err != nil {
		failSpan(span, newFailure(err, s.label, w.e.attempt, nil))
	} else {
		discardSpan(span, sent)
	}
	endSpan(span)
	return err
}

// giveIDs gives messages that came of one the ids ID/1, ID/2, …, so that a consumer can tell them apart, and knows them again
// when they come twice. Ids that a stage gave stay.
func (w *worker) giveIDs(id string, parts []*Message) {
	for k := range parts {
		m := w.own(parts[k])
		parts[k] = m
		numbered := id + "/" + strconv.Itoa(k+1)
		if id != "" && m.Properties.MessageID == id && len(numbered) <= maxID {
			m.Properties.MessageID = numbered
		}
	}
}

// maxID is the longest message id in bytes: AMQP carries it as a short string.
const maxID = 255

// stepAll takes the messages from the top of the stack on, and removes them from it.
func (w *worker) stepAll(g *graph, i, start int) *Failure {
	var f *Failure
	for k, end := start, len(w.buf); k < end && f == nil; k++ {
		f = w.step(g, i, w.buf[k])
	}
	w.pop(start)
	return f
}

func (w *worker) pop(start int) {
	clear(w.buf[start:])
	w.buf = w.buf[:start]
}

// stageFailed does what the stage's on_error says with the message as it was before the stage.
func (w *worker) stageFailed(g *graph, i int, m *Message, err error) *Failure {
	s := g.stages[i]
	f := newFailure(err, s.label, w.e.attempt, &s.node.Options)
	switch w.run.onError(&s.node.Options) {
	case OnErrorContinue:
		w.run.tolerated(f, m)
		return w.step(g, i+1, m)
	case OnErrorDrop:
		w.run.tolerated(f, m)
		w.run.stats.dropped.Add(1)
		return nil
	case OnErrorSend:
		w.run.tolerated(f, m)
		m = w.own(m)
		m.failure, m.targets = f, s.errorTarget
		return w.deliver(g, m)
	default:
		return f
	}
}

// deliver finds who takes a message that reached the end of g, and notes what is to be sent.
func (w *worker) deliver(g *graph, m *Message) *Failure {
	start := len(w.to)
	defer func() { w.to = w.to[:start] }()
	if f := w.recipients(g, m); f != nil {
		return f
	}
	to := w.to[start:]
	if len(to) == 0 {
		return w.unmatched(g)
	}
	for k, r := range to {
		c := m
		if k < len(to)-1 {
			c = m.Clone()
		}
		switch {
		case r.sink != nil:
			w.send(r.sink, c)
		case r.branch != nil:
			if f := w.enter(r.branch, c); f != nil {
				return f
			}
		}
	}
	return nil
}

// send notes a message for a sink, unless that has confirmed all of the delivery in an earlier attempt.
func (w *worker) send(s *sink, m *Message) {
	if w.e.skip&s.bit == 0 {
		w.sends = append(w.sends, send{s, m})
	}
}

// own returns a message that may be changed: m, or a copy of it where it is the input of its entry.
func (w *worker) own(m *Message) *Message {
	e := m.entry
	if m != e.input {
		return m
	}
	if len(w.copies) == 0 {
		w.copies = make([]Message, max(w.ahead, 1))
	}
	c := &w.copies[0]
	w.copies = w.copies[1:]
	sole := m.sole
	m.cloneTo(c)
	if sole { // it goes with the copy: another attempt decodes again
		c.sole, m.decoded, m.decodedFor = true, nil, nil
	}
	e.message = c
	return c
}

// maxDepth bounds how many branches a message passes, so that branches that lead to each other end.
const maxDepth = 64

func (w *worker) enter(b *graph, m *Message) *Failure {
	if w.depth == maxDepth {
		err := fmt.Errorf("the message went through %d branches; they seem to lead to each other", maxDepth)
		return newFailure(Permanent(WithKind(KindUnroutable, err)), "pipeline."+b.name, w.e.attempt, nil)
	}
	m.targets = nil
	w.depth++
	defer func() { w.depth-- }()
	return w.step(b, 0, m)
}

// recipients collects in w.to every sink of g that takes all messages, unless m has failed, and what m was sent to.
func (w *worker) recipients(g *graph, m *Message) *Failure {
	if m.failure == nil {
		for _, s := range g.always {
			if f := w.offer(s, m); f != nil {
				return f
			}
		}
	}
	for _, t := range m.targets {
		if t.Branch {
			b, ok := g.branches[t.Name]
			if !ok {
				return w.noTarget(g, t)
			}
			w.to = append(w.to, recipient{branch: b})
			continue
		}
		s, ok := g.sinks[t.Name]
		if !ok {
			return w.noTarget(g, t)
		}
		if f := w.offer(s, m); f != nil {
			return f
		}
	}
	return nil
}

// offer adds a sink to the recipients if its condition holds.
func (w *worker) offer(s *sink, m *Message) *Failure {
	applies, err := s.applies(m)
	if err != nil {
		s.meter.fail(err)
		f := newFailure(err, s.label, w.e.attempt, &s.node.Options)
		switch w.run.onError(&s.node.Options) {
		case OnErrorContinue, OnErrorDrop:
			w.run.tolerated(f, m)
			w.to = append(w.to, recipient{})
			return nil
		case OnErrorSend:
			w.run.tolerated(f, m)
			c := m.Clone()
			c.failure = f
			w.to = append(w.to, recipient{})
			w.send(s.errorSink, c)
			return nil
		default:
			return f
		}
	}
	if applies {
		w.to = append(w.to, recipient{sink: s})
	}
	return nil
}

func (w *worker) noTarget(g *graph, t Target) *Failure {
	err := fmt.Errorf("the message was sent to %s, which pipeline %q does not have", t, g.name)
	return newFailure(Permanent(WithKind(KindUnroutable, err)), g.name, w.e.attempt, nil)
}

var errUnmatched = Permanent(WithKind(KindUnroutable, errors.New("no sink took the message")))

func (w *worker) unmatched(g *graph) *Failure {
	if g.dropUnmatched {
		w.run.stats.dropped.Add(1)
		return nil
	}
	return newFailure(errUnmatched, "pipeline."+g.name, w.e.attempt, nil)
}

// flush sends what has been collected, in order, and ends the processing of the entries.
func (w *worker) flush() {
	if len(w.sends) > 0 {
		w.sendAll()
	}
	for i, e := range w.done {
		w.done[i] = nil
		e.release()
	}
	w.done = w.done[:0]
	w.copies = nil // what is left would keep the messages beside it
}

func (w *worker) sendAll() {
	if len(w.sends) > 1 {
		w.cork()
	}
	outcomes := make([]outcome, len(w.sends))
	for i, s := range w.sends {
		s.m.entry.owe()
		s.m.entry.sent |= s.sink.bit
		outcomes[i].start(s.sink, s.m)
		w.sends[i] = send{}
	}
	w.sends = w.sends[:0]
	for i, c := range w.corked {
		w.corked[i] = nil
		c.Uncork()
	}
	w.corked = w.corked[:0]
}

// cork lets the sinks that are about to be sent to gather their writes.
func (w *worker) cork() {
	for _, s := range w.sends {
		if c := s.sink.corker; c != nil && !slices.Contains(w.corked, c) {
			w.corked = append(w.corked, c)
			c.Cork()
		}
	}
}

// call runs the stage on one message.
func (s *stage) call(ctx context.Context, w *worker, m *Message) (err error) {
	if s.breaker != nil {
		tell, stopped := s.breaker.enter(w.run)
		if stopped != nil {
			return stopped
		}
		defer func() { tell(err) }()
	}
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return WithKind(KindTimeout, context.Cause(ctx))
		}
	}
	if s.node.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, s.node.Timeout)
		defer cancel()
		err := protect(limited, s.node.Stage, m, w.emit)
		if err != nil && limited.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			return WithKind(KindTimeout, fmt.Errorf("took longer than %s: %w", s.node.Timeout, err))
		}
		return err
	}
	return protect(ctx, s.node.Stage, m, w.emit)
}

// protect makes a panic a permanent failure of the message.
func protect(ctx context.Context, s Stage, m *Message, emit func(*Message)) (err error) {
	defer rescue(&err)
	return s.Process(ctx, m, emit)
}

// rescue, deferred, makes a panic an error.
func rescue(err *error) {
	if v := recover(); v != nil {
		*err = panicked(v)
	}
}

func panicked(v any) error {
	recovered := panics.NewRecovered(2, v)
	return Permanent(WithKind(KindPanic, &PanicError{recovered}))
}

// PanicError is the error of a message whose stage or sink panicked.
type PanicError struct{ recovered panics.Recovered }

func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.recovered.Value) }

// Stack is where the panic happened.
func (p *PanicError) Stack() string { return string(p.recovered.Stack) }

func newFailure(err error, component string, attempt int, o *Options) *Failure {
	return &Failure{
		Kind: KindOf(err), Err: err, Component: component,
		Attempt: attempt, Permanent: IsPermanent(err), options: o,
	}
}

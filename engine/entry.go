package engine

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ledger keeps the deliveries of one source that are not settled yet. Only the ledger settles.
//
// Entries are opened a chunk at a time and kept by chunk, so that opening and settling cost one lock
// a chunk, not one a message.
type ledger struct {
	run *run

	mu     sync.Mutex
	chunks map[*chunk]struct{}
	empty  chan struct{} // closed when there are none; nil when nobody waits for it
}

// chunk is what the source handed over at once.
type chunk struct {
	opened  time.Time
	entries []entry
	left    atomic.Int32 // entries that are not settled
}

// entry is one delivery on its way: how many outcomes it owes, and the worst so far. It starts as
// lost, so that a path that forgets it fails closed.
//
// An entry with members stands for a group: its outcome is theirs.
//
// There is one for each message under way, and so what only few of them need is kept apart, in trouble.
type entry struct {
	run     *run
	chunk   *chunk
	members []*entry

	settler Settler
	tag     uint64
	message *Message // the one at work: the input, until something is about to change it
	input   *Message // as it came, for another attempt
	history
	sent uint64 // the sinks that it was sent to in this attempt

	owed     atomic.Int32
	settled  atomic.Bool
	failure  atomic.Pointer[Failure]
	failedAt atomic.Uint64          // the sinks that have failed in this attempt
	traced   atomic.Pointer[traced] // the span of the attempt at work
}

var errLost = errors.New("the message was lost inside the pipeline")

// lost is how every attempt starts.
var lost = &Failure{Kind: KindStage, Err: errLost, Component: "engine"}

func newLedger(r *run) *ledger {
	return &ledger{run: r, chunks: make(map[*chunk]struct{})}
}

// open makes the entries of a chunk of deliveries.
func (l *ledger) open(deliveries []Delivery) []*entry {
	c := &chunk{entries: make([]entry, len(deliveries))}
	if l.run.holdLimit > 0 || l.run.measure {
		c.opened = time.Now()
	}
	c.left.Store(int32(len(deliveries)))
	opened := make([]*entry, len(deliveries))
	var copies []Message
	if l.run.tracer != nil { // it sets headers of the input
		copies = make([]Message, len(deliveries))
	}
	for i := range deliveries {
		d, e := &deliveries[i], &c.entries[i]
		e.run, e.chunk = l.run, c
		e.settler, e.tag = d.Settler, d.Tag
		e.input, e.message = d.Message, d.Message
		e.history = l.run.recall(e.input)
		e.input.Headers.shared = true
		if copies != nil {
			e.message = &copies[i]
			e.input.cloneTo(e.message)
		}
		e.begin()
		opened[i] = e
	}
	l.mu.Lock()
	l.chunks[c] = struct{}{}
	l.mu.Unlock()
	return opened
}

// begin starts an attempt: the lanes owe one outcome, and the message counts as lost until they say
// otherwise.
func (e *entry) begin() {
	e.attempt++
	e.failure.Store(lost)
	e.owed.Store(1)
	if e.message != nil {
		e.message.entry = e
	}
}

// asItCame returns a copy of the message as it came in.
func (e *entry) asItCame() *Message {
	m := e.input.Clone()
	m.targets = nil
	return m
}

// owe adds one outcome to those that must come before the entry is settled.
func (e *entry) owe() { e.owed.Add(1) }

// found says that the message went through every stage: it is no longer lost.
func (e *entry) found() { e.failure.CompareAndSwap(lost, nil) }

// fail records a failure; a permanent one outweighs one that may pass.
func (e *entry) fail(f *Failure) {
	for {
		worst := e.failure.Load()
		if worst != nil && worst != lost && (worst.Permanent || !f.Permanent) {
			return
		}
		if e.failure.CompareAndSwap(worst, f) {
			return
		}
	}
}

// release pays one owed outcome. The last one decides.
func (e *entry) release() {
	if e.owed.Add(-1) != 0 {
		return
	}
	f := e.failure.Load()
	switch {
	case e.members != nil:
		if f != nil {
			failSpan(e.span(), f)
		}
		endSpan(e.span()) // first: with its last member a run may be over
		for _, member := range e.members {
			if f != nil {
				member.fail(f)
			}
			member.release()
		}
	case f == nil:
		e.settle(Ack)
	default:
		e.run.failed(e, f)
	}
}

// settle tells the source, once, and forgets the entry.
func (e *entry) settle(o Outcome) {
	if !e.settled.CompareAndSwap(false, true) {
		return
	}
	e.run.stats.settled(o)
	e.tellSettler(o)
	if e.chunk.left.Add(-1) == 0 {
		e.run.ledger.forget(e.chunk)
	}
}

// tellSettler settles, and ends the span of the attempt.
func (e *entry) tellSettler(o Outcome) {
	span := e.span()
	if span == nil {
		e.settler.Settle(e.tag, o)
	} else {
		settle := span.Settle(o)
		e.settler.Settle(e.tag, o)
		endSpan(settle)
		span.End()
	}
	if e.run.measure {
		e.run.stats.took.record(time.Since(e.chunk.opened), span)
		if sent := e.input.Properties.Timestamp; !sent.IsZero() && o == Ack {
			e.run.stats.latency.record(max(0, time.Since(sent)), span)
		}
	}
}

func (l *ledger) forget(c *chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.chunks, c)
	l.checkEmpty()
}

func (l *ledger) checkEmpty() {
	if l.empty != nil && len(l.chunks) == 0 {
		close(l.empty)
		l.empty = nil
	}
}

// wait waits until everything is settled. It is for one caller, when nothing more is opened.
func (l *ledger) wait() {
	l.mu.Lock()
	empty := make(chan struct{})
	l.empty = empty
	l.checkEmpty()
	l.mu.Unlock()
	<-empty
}

// abandon gives up all that is not settled: it goes back to where it came from.
func (l *ledger) abandon() {
	l.mu.Lock()
	chunks := make([]*chunk, 0, len(l.chunks))
	for c := range l.chunks {
		chunks = append(chunks, c)
	}
	l.mu.Unlock()
	for _, c := range chunks {
		for i := range c.entries {
			c.entries[i].settle(Abandon)
		}
	}
}

// Package engine runs pipelines: deliveries from a source go through stages to sinks, and a delivery
// is settled when everything that it became has been confirmed.
//
// The package knows no AMQP and no configuration format. A [Pipeline] names its parts; [Run] runs
// pipelines until their context ends. Stages, sources and sinks are small interfaces; a [Registry]
// gives them the names under which a configuration finds them.
package engine

import (
	"context"
	"log/slog"
	"time"
)

// Stage works on one message. It calls emit for what goes on: never (the message is dropped on
// purpose), once (the same message, changed or not), or several times (split). What it emitted goes
// on only when it returns nil; an error sends the input down the failure path and nothing of it on.
//
// Process is called from many goroutines. emit belongs to the call: it is called from Process's own
// goroutine and never after Process has returned. A panic is a failure of that message, of kind
// [KindPanic].
type Stage interface {
	Process(ctx context.Context, m *Message, emit func(*Message)) error
}

// Aggregator turns a group of messages into output; the engine owns the group's size, bytes, age and
// key, and settles every member when what the group became is settled. An error fails every member.
// Aggregate is called from many goroutines, each with a group of its own.
type Aggregator interface {
	Aggregate(ctx context.Context, group []*Message, emit func(*Message)) error
}

// Source hands over deliveries in arrival order.
//
// Run calls next from one goroutine with whatever has arrived, a chunk at most (1 to [MaxChunk]
// deliveries), and next returns when the source may hand over more. When ctx ends Run hands over nothing
// more, waits until everything that it handed over has been settled (the engine sees to it, at the
// drain deadline at the latest), cleans up and returns nil. It returns an error only for what running on cannot mend;
// a connection that breaks is mended inside.
type Source interface {
	Run(ctx context.Context, next func(chunk []Delivery)) error
}

// MaxChunk is how many deliveries a source hands over at once, at most.
const MaxChunk = 64

// Delivery pairs a message with the way to settle it.
type Delivery struct {
	Message *Message
	Settler Settler
	Tag     uint64 // the source's own mark; handed back to the settler
}

// Settler settles the deliveries of one session of a source. The engine calls Settle exactly once a
// delivery, from any goroutine.
type Settler interface {
	Settle(tag uint64, outcome Outcome)
	// Stale reports that the session has ended: settling does nothing, and the delivery comes
	// again by itself.
	Stale() bool
}

// Outcome is how a delivery is settled.
type Outcome uint8

// The outcomes of a delivery.
const (
	// Abandon leaves the delivery unsettled: it goes back to where it came from when the session ends.
	Abandon Outcome = iota
	// Ack says that everything the delivery became has been confirmed.
	Ack
	// Reject gives the delivery up: the source's side discards it or keeps it as a dead letter.
	Reject
	// Requeue gives the delivery back to be delivered again.
	Requeue
)

func (o Outcome) String() string {
	return [...]string{"abandon", "ack", "reject", "requeue"}[o&3]
}

// DeadLetterer is implemented by a source whose rejected deliveries are kept (a queue with a
// dead-letter exchange). A permanent failure is then rejected; elsewhere it is held.
type DeadLetterer interface {
	DeadLetters() bool
}

// Sink takes responsibility for a message. Send does not wait for the destination: it calls done
// exactly once, with nil when the destination has confirmed, from any goroutine and possibly before
// Send returns. Send applies back-pressure by blocking; when ctx ends it stops waiting and calls
// done with an error. Send is called from many goroutines, in order from each. The message is not the
// sink's own: it changes nothing of it, as others have what it shares, and neither the sink nor the engine
// touches its content after the call.
type Sink interface {
	Send(ctx context.Context, m *Message, done func(error))
}

// Reader is implemented by a stage that changes nothing of a message but where it goes ([Message.SendTo]) and what is kept of its
// decoded body ([Message.SetDecoded]). It can be handed the message that the source made; before any other stage the engine makes
// a copy, since another attempt begins with the message as it came in.
type Reader interface {
	// OnlyReads does nothing.
	OnlyReads()
}

// Corker is implemented by a sink that can gather what it is sent: between Cork and Uncork it may
// hold back writes, but never waits for a confirm while it does.
type Corker interface {
	Cork()
	Uncork()
}

// Readier is implemented by a source or sink that knows whether it can work just now. Ready is called from any goroutine.
type Readier interface {
	// Ready returns nil, or an error that says why not.
	Ready() error
}

// Starter is implemented by a component that has something to do before messages flow.
type Starter interface {
	Start(ctx context.Context) error
}

// Closer is implemented by a component that has something to release. Close is called once, after
// the last message; ctx ends at the drain deadline.
type Closer interface {
	Close(ctx context.Context) error
}

// Env is what a component may know about where it stands. A Config struct that has a field of this
// type is given it; the zero value is usable.
type Env struct {
	Pipeline string // the pipeline's name
	Kind     string // the component's kind, as registered
	Name     string // the component's name in its pipeline
	Log      *slog.Logger
	// LongestPause is the longest pause that retries of the pipeline ask for; 0 where there are none. See [Delayer].
	LongestPause time.Duration
}

// Logger returns e.Log, or a logger that discards.
func (e Env) Logger() *slog.Logger {
	if e.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Log
}

// Target names where a message can be sent: a sink of its pipeline, or a pipeline without a source.
type Target struct {
	Branch bool // a pipeline, not a sink
	Name   string
}

func (t Target) String() string {
	if t.Branch {
		return "pipeline." + t.Name
	}
	return "sink." + t.Name
}

// Order says what a pipeline promises about the order of its messages.
type Order uint8

// The orders.
const (
	// OrderStrict keeps arrival order from the source to each sink.
	OrderStrict Order = iota
	// OrderNone lets messages overtake each other where that is faster.
	OrderNone
	// OrderByKey keeps arrival order among messages with the same key.
	OrderByKey
)

// Pipeline is a source, the stages that its messages go through, and the sinks that take what comes
// out. A pipeline without a source is a branch, which a stage or another pipeline can send to.
type Pipeline struct {
	Name   string
	Source Source // nil: a branch
	Stages []StageNode
	Sinks  []SinkNode

	Order Order
	// OrderKey is the key for OrderByKey.
	OrderKey func(*Message) (string, error)
	// Concurrency is how many messages may be in the stages at once; 0 and 1 run them where they
	// arrive, with no hop to another goroutine.
	Concurrency int
	// DropUnmatched drops a message that no sink took; otherwise that is a failure.
	DropUnmatched bool
	// Retry, if set, is what happens to deliveries that fail; a component's own goes before it. A branch's is not looked at: it is
	// the source's pipeline that fails.
	Retry *Retry
}

// StageNode is a stage in its place. Exactly one of Stage and Aggregator is set.
type StageNode struct {
	Kind, Name string
	Stage      Stage
	Aggregator Aggregator
	Group      Group // for an aggregator
	Options
}

// SinkNode is a sink in its place.
type SinkNode struct {
	Kind, Name string
	Sink       Sink
	// Named sinks take only what is sent to them; the others take every message.
	Named bool
	Options
}

// Options are what any stage or sink may carry.
type Options struct {
	// When, if set, decides whether the component applies to a message.
	When func(*Message) (bool, error)
	// OnError is what happens to a message that fails here.
	OnError OnError
	// Timeout bounds one call of a stage, or the time from Send to its confirm; 0 is no limit.
	Timeout time.Duration
	// Concurrency bounds the calls of a stage that run at once, or the messages of a sink that
	// are not confirmed; 0 is no limit.
	Concurrency int
	// Retry, if set, goes before the pipeline's for failures of this component.
	Retry *Retry
	// Breaker, if set, stops the component from being tried while it fails again and again.
	Breaker *Breaker
	// Fallback, if it has a name, is a sink that takes what this sink fails to take.
	Fallback Target
	// OnUnroutable is what happens to a message that this sink finds no queue for.
	OnUnroutable OnUnroutable
}

// OnUnroutable is what happens to a message that no queue takes. The zero value fails it.
type OnUnroutable struct {
	// Hold keeps the input unacknowledged and tries again, until a queue is there.
	Hold bool
	// Target, if it has a name, is a sink that takes the message instead.
	Target Target
}

// OnError is what happens to a message that fails in a stage or sink. The zero value lets the
// delivery fail.
type OnError struct {
	Action OnErrorAction
	Target Target // for OnErrorSend
}

// OnErrorAction says what to do with a message that failed.
type OnErrorAction uint8

// The actions.
const (
	// OnErrorFail fails the delivery.
	OnErrorFail OnErrorAction = iota
	// OnErrorContinue goes on as if the component were not there.
	OnErrorContinue
	// OnErrorDrop drops the message on purpose.
	OnErrorDrop
	// OnErrorSend sends the message, as it was before the component, to a sink.
	OnErrorSend
)

// Group bounds the groups of an aggregator. A group is complete at the first bound that it reaches.
type Group struct {
	Size  int           // messages; 0 is no bound
	Bytes int           // bytes of bodies; 0 is no bound
	Age   time.Duration // since the first message; must be set, so that no message waits for ever
	Key   func(*Message) (string, error)
}

package engine

import (
	"context"
)

// Tracer follows messages. Its methods are called on the hot path, from many goroutines: they do not wait.
type Tracer interface {
	// Process begins the span of an attempt at a delivery. It returns nil for a message that is not followed: nothing more is
	// asked about it. It may set headers of the message, which goes on with them.
	Process(a Attempt) Span
	// Group begins the span of what a complete group becomes. The spans of the members are nil where they are not followed; so is
	// what it returns.
	Group(pipeline string, s *StageNode, members []Span) Span
}

// Attempt is one attempt at a delivery.
type Attempt struct {
	Pipeline string
	From     Address
	Message  *Message // as it came in
	Tag      uint64   // the source's mark of the delivery
	Number   int      // counted from 1
	Before   Span     // of the attempt before this one in this process; nil for none
}

// Span is a part of a message's way. Its methods may be called from many goroutines; after End they do nothing.
type Span interface {
	// Stage begins the span of a stage at work on m.
	Stage(pipeline string, s *StageNode, m *Message) Span
	// Publish begins the span of a message on its way out, up to its confirm, and sets the headers that tell whoever
	// consumes it what it belongs to. component is who sends it, as "sink.eu".
	Publish(pipeline, component string, to Address, m *Message) Span
	// Settle begins the span of the settlement; nil where nothing is sent.
	Settle(o Outcome) Span
	// Discard says that a stage has dropped the message on purpose: this is where its way ends.
	Discard()
	// Fail says that this part has failed.
	Fail(f *Failure)
	End()
	// Context returns ctx with the span in it, for what a component calls, and for logs.
	Context(ctx context.Context) context.Context
	// IDs returns the ids of the trace and of the span, as hexadecimal digits.
	IDs() (trace, span string)
}

// Address is where a source takes messages from or a sink sends them to, as telemetry tells it. Empty fields are not known, or
// differ from message to message.
type Address struct {
	System      string // of messaging, as "rabbitmq"
	Destination string // the name of a queue or exchange
	Server      string
	Port        int
}

// Addressed is implemented by a source or sink that has an address.
type Addressed interface {
	Address() Address
}

func addressOf(component any) Address {
	if a, ok := component.(Addressed); ok {
		return a.Address()
	}
	return Address{}
}

// traced is a Span in a place of an entry that many goroutines look at.
type traced struct{ Span }

// span returns the span of the attempt at work; nil for none.
func (e *entry) span() Span {
	if t := e.traced.Load(); t != nil {
		return t.Span
	}
	return nil
}

// trace begins the span of an attempt.
func (r *run) trace(e *entry) {
	s := r.tracer.Process(Attempt{
		Pipeline: r.pipeline.Name, From: r.address, Message: e.input, Tag: e.tag, Number: e.attempt, Before: e.span(),
	})
	e.input.Headers.shared = true
	e.message.Headers = e.input.Headers
	if s != nil {
		e.traced.Store(&traced{s})
	}
}

// traceGroup begins the span of a group.
func (r *run) traceGroup(s *StageNode, ge *entry, pipeline string) {
	spans := make([]Span, len(ge.members))
	for i, member := range ge.members {
		spans[i] = member.span()
	}
	if s := r.tracer.Group(pipeline, s, spans); s != nil {
		ge.traced.Store(&traced{s})
	}
}

// discardSpan, failSpan and endSpan tell what may be no span.
func discardSpan(s Span, sent int) {
	if s != nil && sent == 0 {
		s.Discard()
	}
}

func failSpan(s Span, f *Failure) {
	if s != nil {
		s.Fail(f)
	}
}

func endSpan(s Span) {
	if s != nil {
		s.End()
	}
}

// contextOf returns a context for logs about what a span stands for.
func contextOf(s Span) context.Context {
	if s == nil {
		return context.Background()
	}
	return s.Context(context.Background())
}

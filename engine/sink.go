package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// outcome is one message on its way through a sink: what the entry is owed.
type outcome struct {
	sink      *sink
	origin    *sink // the one that was sent to first
	m         *Message
	slot      chan struct{} // to give back
	tell      func(error)   // of the breaker
	span      Span
	began     time.Duration
	timer     *time.Timer
	decided   atomic.Bool
	explained bool // the headers tell of the failure already
}

// start hands the message to the sink.
func (o *outcome) start(s *sink, m *Message) {
	o.sink, o.m = s, m
	if o.origin == nil {
		o.origin = s
	}
	r := m.entry.run
	if m.failure != nil && !o.explained {
		r.explain(m, m.entry, m.failure, 0)
	}
	s.meter.receive()
	o.began = s.meter.now()
	if s.breaker != nil {
		tell, err := s.breaker.enter(r)
		if err != nil {
			o.finish(err)
			return
		}
		o.tell = tell
	}
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
			o.slot = s.slots
		case <-r.ctx.Done():
			o.finish(WithKind(KindTimeout, context.Cause(r.ctx)))
			return
		}
	}
	if span := m.entry.span(); span != nil {
		o.span = span.Publish(s.pipeline, s.label, s.address, m)
	}
	if limit := s.node.Timeout; limit > 0 {
		o.timer = time.AfterFunc(limit, func() {
			o.finish(WithKind(KindTimeout, fmt.Errorf("not confirmed within %s", limit)))
		})
	}
	defer func() {
		if v := recover(); v != nil {
			o.done(panicked(v))
		}
	}()
	s.node.Sink.Send(r.ctx, m, o.done)
}

// done is what the sink calls.
func (o *outcome) done(err error) {
	if !o.finish(err) {
		o.sink.doubled.Add(1)
	}
	if o.timer != nil {
		o.timer.Stop()
	}
}

// finish takes the first outcome and reports whether this was it.
func (o *outcome) finish(err error) bool {
	if !o.decided.CompareAndSwap(false, true) {
		return false
	}
	if o.slot != nil {
		<-o.slot
	}
	if o.tell != nil {
		o.tell(err)
	}
	e := o.m.entry
	o.sink.meter.stop(o.began, 1, 1, err, o.span)
	if err == nil {
		endSpan(o.span)
		e.run.stats.out.Add(1)
	} else {
		f := newFailure(err, o.sink.label, e.attempt, &o.sink.node.Options)
		failSpan(o.span, f)
		endSpan(o.span)
		o.failed(e, f)
	}
	e.release()
	return true
}

func (o *outcome) failed(e *entry, f *Failure) {
	r := e.run
	over := r.ctx.Err() != nil // then nothing is tolerated: see onError
	switch {
	case f.Kind == KindUnroutable && o.sink.unroutable != nil && !over:
		r.tolerated(f, o.m)
		r.redirect(o, o.sink.unroutable, f, f)
		return
	case f.Kind == KindUnroutable && o.sink.node.OnUnroutable.Hold:
		f.hold = true
	case o.sink.fallback != nil && !over:
		r.tolerated(f, o.m)
		r.redirect(o, o.sink.fallback, f, nil)
		return
	}
	switch r.onError(&o.sink.node.Options) {
	case OnErrorContinue, OnErrorDrop:
		r.tolerated(f, o.m)
	case OnErrorSend:
		r.tolerated(f, o.m)
		r.redirect(o, o.sink.errorSink, f, f)
	default:
		e.failedAt.Or(o.origin.bit)
		e.fail(f)
	}
}

package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// outcome is one message on its way through a sink: what the entry is owed.
type outcome struct {
	sink    *sink
	m       *Message
	slot    chan struct{} // to give back
	decided atomic.Bool
	timer   *time.Timer
}

// start hands the message to the sink.
func (o *outcome) start(s *sink, m *Message) {
	o.sink, o.m = s, m
	ctx := m.entry.run.ctx
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
			o.slot = s.slots
		case <-ctx.Done():
			o.finish(WithKind(KindTimeout, context.Cause(ctx)))
			return
		}
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
	s.node.Sink.Send(ctx, m, o.done)
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
	e := o.m.entry
	if err == nil {
		e.run.stats.out.Add(1)
	} else {
		o.failed(e, newFailure(err, o.sink.label, e.attempt))
	}
	e.release()
	return true
}

func (o *outcome) failed(e *entry, f *Failure) {
	switch e.run.onError(&o.sink.node.Options) {
	case OnErrorContinue, OnErrorDrop:
		e.run.tolerated(f, o.m)
	case OnErrorSend:
		e.run.tolerated(f, o.m)
		e.run.redirect(o.sink.errorSink, o.m, f)
	default:
		e.fail(f)
	}
}

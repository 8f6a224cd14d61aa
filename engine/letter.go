package engine

import (
	"time"
	"unicode/utf8"
)

// The headers that tell of a message that has failed, on its way to a sink that takes such messages.
const (
	HeaderReason     = "x-pipe-reason"        // the text of the error
	HeaderKind       = "x-pipe-kind"          // its [Kind]
	HeaderStage      = "x-pipe-stage"         // the stage or sink that failed
	HeaderPipeline   = "x-pipe-pipeline"      // the pipeline
	HeaderAttempts   = "x-pipe-attempts"      // how often it was tried
	HeaderFirst      = "x-pipe-first-failure" // when it failed first
	HeaderLast       = "x-pipe-last-failure"  // when it failed last
	HeaderExchange   = "x-pipe-exchange"      // where it was published to
	HeaderRoutingKey = "x-pipe-routing-key"   // and with which key
	HeaderQueue      = "x-pipe-queue"         // the queue that it came from
	HeaderVersion    = "x-pipe-version"       // of the software that gave it up
	HeaderCut        = "x-pipe-headers-cut"   // how many of its own headers had to be left out, for want of room
)

// The texts that explain a failure are cut to these lengths: headers must fit into one frame.
const (
	reasonBytes = 1000
	shortBytes  = 100
)

// explain sets the headers that tell of a failure. Each level leaves out more, for messages that have hardly any room left.
func (r *run) explain(m *Message, e *entry, f *Failure, level int) {
	reason := reasonBytes
	if level > 0 {
		reason = shortBytes
	}
	if level > 1 {
		own := m.Headers.Len()
		m.Headers = Headers{}
		m.Headers.Set(HeaderCut, int64(own))
	}
	now := time.Now()
	first := now
	var in *Message
	if e.members == nil {
		in = e.input
		if e.trouble != nil && !e.first.IsZero() {
			first = e.first
		}
	} else {
		in = m // a group has no input of its own
	}
	for _, h := range [...]struct {
		name  string
		value any
	}{
		{HeaderReason, cut(f.Message(), reason)},
		{HeaderKind, string(f.Kind)},
		{HeaderStage, cut(f.Component, shortBytes)},
		{HeaderPipeline, cut(r.pipeline.Name, shortBytes)},
		{HeaderAttempts, int64(f.Attempt)},
		{HeaderFirst, first.Truncate(time.Second)},
		{HeaderLast, now.Truncate(time.Second)},
		{HeaderExchange, in.Exchange},
		{HeaderRoutingKey, in.RoutingKey},
		{HeaderQueue, r.location},
		{HeaderVersion, cut(r.version, shortBytes)},
	} {
		if h.value != "" {
			m.Headers.Set(h.name, h.value)
		}
	}
}

// cut shortens a text to n bytes, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// bury sends a delivery that is not tried again to a sink; it is acknowledged when that has confirmed.
func (r *run) bury(e *entry, f *Failure, s *sink) {
	e.letter, e.letterTo, e.letterCut = f, s, 0
	r.sendLetter(e)
}

// sendLetter sends in a goroutine of its own: the caller is often the one that the sink would wait for.
func (r *run) sendLetter(e *entry) {
	m := e.asItCame()
	m.entry, m.failure = e, e.letter
	e.failure.Store(nil)
	e.owed.Store(1)
	r.explain(m, e, e.letter, e.letterCut)
	if !r.spawn(func() { (&outcome{explained: true}).start(e.letterTo, m) }) {
		e.settle(Abandon)
	}
}

// letterFailed holds a delivery whose letter could not be delivered, and sends the letter again later.
func (r *run) letterFailed(e *entry, f *Failure) {
	if f.Kind == KindTooLarge && e.letterCut < 2 {
		e.letterCut++
		r.sendLetter(e)
		return
	}
	r.hold(e, f)
}

package engine

import (
	"context"
	"log/slog"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"
)

// Retry says how often a delivery that failed is tried again, and what becomes of it then.
type Retry struct {
	// Attempts is how often it is tried in all, the first time included.
	Attempts int
	// Min is the pause before the second attempt; each further one is Factor times as long, up to Max.
	Min, Max time.Duration
	Factor   float64 // 1 at least
	// Jitter is by what share of it a pause may be longer, by chance, from 0 to 1: what failed together is not tried together.
	Jitter float64
	// When, if set, decides which failures are tried again; it sees the message as it came in, with its failure. Otherwise all
	// that are not permanent are.
	When func(*Message) (bool, error)
	// Then takes what is not tried again, if it has a name; otherwise it goes where it would without a Retry.
	Then Target
}

// pauseAfter returns the pause after an attempt, counted from 1.
func (r *Retry) pauseAfter(attempt int) time.Duration {
	pause := float64(r.Min) * math.Pow(max(r.Factor, 1), float64(attempt-1))
	pause = min(pause, float64(r.Max))
	pause += pause * r.Jitter * rand.Float64()
	return time.Duration(pause)
}

// Delayer is implemented by a source that can have a message held outside the process, so that a long pause costs none of it.
//
// Delay is called with the message as it is to come again, and the pause after which it is; some of it may be left when it comes
// again. It calls done once, from any goroutine: with nil when the message is safe there, so that the delivery can be settled. It
// is called from many goroutines.
type Delayer interface {
	Delay(ctx context.Context, m *Message, pause time.Duration, done func(error))
	// Shortest is the shortest pause that is worth it; 0 says that nothing can be held.
	Shortest() time.Duration
}

// HoldLimiter is implemented by a source that wants deliveries back which are held for longer than HoldLimit: whoever delivered
// them would lose patience.
type HoldLimiter interface {
	HoldLimit() time.Duration
}

// Locator is implemented by a source that can say where its deliveries come from, as the name of a queue.
type Locator interface {
	Location() string
}

// RetryHeader is the header in which a message that is held outside the process carries what is known of it. It is taken off
// before any stage sees the message.
const RetryHeader = "x-pipe-retry"

// The entries of the table in RetryHeader.
const (
	retryPipeline = "pipeline" // whose it is
	retryAttempt  = "attempt"  // how many there have been
	retryFirst    = "first"    // when the first one failed, in milliseconds since 1970
	retryDue      = "due"      // when it is to be tried again, likewise
	retryDone     = "done"     // the sinks that have confirmed all of it
)

// history is what is known of a delivery from earlier attempts.
type history struct {
	attempt int
	skip    uint64 // the sinks that have confirmed all of it
	*trouble
}

// trouble is what there is of a delivery once an attempt has failed; until then it is nil.
type trouble struct {
	first time.Time // when it failed first
	due   time.Time // when it is to be tried again; zero: now
	holds int       // how often it has been held

	letter    *Failure // why it is given up, once it is
	letterTo  *sink
	letterCut int // how much the letter leaves out
}

// recall takes the history of a message off it.
func (r *run) recall(m *Message) (h history) {
	v, ok := m.Headers.Get(RetryHeader)
	if !ok {
		return h
	}
	m.Headers.Delete(RetryHeader)
	table, ok := v.(map[string]any)
	if !ok || table[retryPipeline] != r.pipeline.Name {
		return h // another pipeline's
	}
	h.attempt = int(max(0, min(number(table[retryAttempt]), 1<<30)))
	h.trouble = &trouble{first: moment(table[retryFirst]), due: moment(table[retryDue])}
	names, _ := table[retryDone].([]any)
	for _, name := range names {
		if path, ok := name.(string); ok {
			h.skip |= r.bits[path]
		}
	}
	return h
}

func number(v any) int64 {
	n, _ := v.(int64)
	return n
}

func moment(v any) time.Time {
	if n := number(v); n > 0 {
		return time.UnixMilli(n)
	}
	return time.Time{}
}

// record is recall's counterpart.
func (r *run) record(h history) map[string]any {
	done := []any{}
	for rest := h.skip; rest != 0; rest &= rest - 1 {
		done = append(done, r.paths[bits.TrailingZeros64(rest)])
	}
	return map[string]any{
		retryPipeline: r.pipeline.Name, retryAttempt: int64(h.attempt), retryFirst: h.first.UnixMilli(), retryDue: h.due.UnixMilli(), retryDone: done,
	}
}

// failed decides about a delivery whose last outcome has come and that has failed.
func (r *run) failed(e *entry, f *Failure) {
	r.stats.failed.Add(1)
	failSpan(e.span(), f)
	e.remember()
	switch {
	case r.stopping.Load() || e.settler.Stale():
		r.report(e, f, "it goes back to the queue")
		e.settle(Abandon)
	case e.letter != nil: // it was a letter that failed
		r.letterFailed(e, f)
	case f.hold:
		r.hold(e, f)
	default:
		r.decide(e, f)
	}
}

// decide follows the retry that the file asks for, if it asks for one.
func (r *run) decide(e *entry, f *Failure) {
	retry := r.pipeline.Retry
	if f.options != nil && f.options.Retry != nil {
		retry = f.options.Retry
	}
	switch {
	case retry != nil && r.mayRetry(retry, e, f):
		r.pause(e, f, retry.pauseAfter(e.attempt))
	case retry != nil && retry.Then.Name != "":
		r.report(e, f, "sent to "+retry.Then.String())
		r.bury(e, f, r.thens[retry])
	case retry != nil && r.deadLetters, r.deadLetters && !f.mayPass():
		r.report(e, f, "rejected: it goes to the dead-letter exchange")
		e.settle(Reject)
	default:
		r.hold(e, f)
	}
}

// mayRetry reports whether a failure is one to try again, and attempts are left.
func (r *run) mayRetry(retry *Retry, e *entry, f *Failure) bool {
	if e.attempt >= retry.Attempts {
		return false
	}
	if retry.When == nil {
		return !f.Permanent
	}
	m := e.asItCame()
	m.failure = f
	again, err := retry.wants(m)
	if err != nil {
		r.tell(e, slog.LevelWarn, "cannot tell whether to try again, so it is not", "error", err)
	}
	return again && err == nil
}

// wants asks When.
func (r *Retry) wants(m *Message) (again bool, err error) {
	defer rescue(&err)
	return r.When(m)
}

// pause lets time pass before the next attempt: outside the process where that is possible and worth it.
func (r *run) pause(e *entry, f *Failure, pause time.Duration) {
	if r.delayer == nil || pause < r.delayer.Shortest() {
		r.report(e, f, "tried again in "+rounded(pause))
		r.wait(e, pause)
		return
	}
	r.report(e, f, "tried again in "+rounded(pause)+", held by the broker meanwhile")
	e.due = time.Now().Add(pause)
	r.delay(e, pause)
}

func rounded(d time.Duration) string {
	if d > time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// delay hands a message to the delayer, in a goroutine of its own: it may have to wait for room.
func (r *run) delay(e *entry, pause time.Duration) {
	m := e.asItCame()
	m.Headers.Set(RetryHeader, r.record(e.history))
	var publish Span
	if span := e.span(); span != nil {
		to := r.address
		to.Destination = delayDestination
		publish = span.Publish(r.pipeline.Name, RetryComponent, to, m)
	}
	started := r.spawn(func() {
		r.delayer.Delay(r.ctx, m, pause, func(err error) {
			if err != nil {
				failSpan(publish, newFailure(err, RetryComponent, e.attempt, nil))
			}
			endSpan(publish)
			switch {
			case err == nil:
				r.stats.delayed.Add(1)
				e.settle(Ack)
			case r.stopping.Load() || e.settler.Stale():
				e.settle(Abandon)
			default:
				r.tell(e, slog.LevelWarn, "cannot have the broker hold a message; it is held here", "error", err)
				r.wait(e, pause)
			}
		})
	})
	if !started {
		endSpan(publish)
		e.settle(Abandon)
	}
}

// What traces call the place where a delayer holds messages, and who sends them there: such a message comes back.
const (
	delayDestination = "delay"
	RetryComponent   = "retry"
)

// wait tries a delivery again after a pause, in which it is held here.
func (r *run) wait(e *entry, pause time.Duration) {
	if r.holdLimit > 0 && time.Since(e.chunk.opened)+pause > r.holdLimit {
		r.tell(e, slog.LevelInfo, "a message has been held for so long that the broker would lose patience: it is given back")
		e.settle(Requeue)
		return
	}
	if e.letter == nil {
		endSpan(e.span()) // this attempt is over
	}
	r.clock.at(time.Now().Add(pause), func() { r.again(e) })
}

// The pause before a held message is tried again doubles from the first to the last.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Minute
)

// hold keeps a delivery unacknowledged, and tries it again with a growing pause for as long as it takes.
func (r *run) hold(e *entry, f *Failure) {
	pause := holdPause(e.holds)
	e.holds++
	if f.hold {
		e.attempt-- // it is not the message's fault
	}
	r.report(e, f, "held unacknowledged; tried again in "+rounded(pause))
	r.wait(e, pause)
}

// mayPass reports that the failure is the destination's state, not the message's fault, so that
// waiting mends it.
func (f *Failure) mayPass() bool {
	return !f.Permanent && (f.Kind == KindConnection || f.Kind == KindNacked)
}

// holdPause returns the pause after a number of holds, with a jitter of a fifth.
func holdPause(holds int) time.Duration {
	pause := lastPause
	if holds < 10 {
		pause = min(firstPause<<holds, lastPause)
	}
	return pause - rand.N(pause/5)
}

// again gives a held delivery another attempt, from the message as it came in.
func (r *run) again(e *entry) {
	switch {
	case r.stopping.Load() || e.settler.Stale() || e.settled.Load():
		e.settle(Abandon)
	case e.letter != nil:
		r.sendLetter(e)
	default:
		r.stats.retried.Add(1)
		r.retake(e)
	}
}

// retake takes the message of a delivery into the lanes as it came in.
func (r *run) retake(e *entry) {
	e.message = e.asItCame()
	e.begin()
	r.take([]*entry{e})
}

// early keeps back what has come before it is due. The delayer may have held it for less than the whole pause.
func (r *run) early(entries []*entry) []*entry {
	if !slices.ContainsFunc(entries, (*entry).waits) {
		return entries
	}
	now := time.Now()
	ready := entries[:0]
	for _, e := range entries {
		if !e.waits() || !now.Before(e.due) {
			ready = append(ready, e)
			continue
		}
		left := e.due.Sub(now)
		e.attempt-- // this is none
		if r.delayer != nil && left >= r.delayer.Shortest() {
			r.delay(e, left)
		} else {
			r.clock.at(e.due, func() { r.dueNow(e) })
		}
	}
	return ready
}

// waits reports whether a delivery was to be tried again at a certain time.
func (e *entry) waits() bool { return e.trouble != nil && !e.due.IsZero() }

func (r *run) dueNow(e *entry) {
	if r.stopping.Load() || e.settler.Stale() {
		e.settle(Abandon)
		return
	}
	r.retake(e)
}

// report logs what becomes of a delivery that failed.
func (r *run) report(e *entry, f *Failure, what string) {
	r.logFailure(e.span(), f, e.input.Properties.MessageID, what)
}

// tell logs something else about a delivery.
func (r *run) tell(e *entry, level slog.Level, text string, attrs ...any) {
	r.logAbout(e.span(), e.input.Properties.MessageID, level, text, func() []any { return attrs })
}

// remember notes which sinks need not be sent to again: those that have confirmed all that they were sent.
func (e *entry) remember() {
	e.skip |= e.sent &^ e.failedAt.Load()
	e.sent = 0
	e.failedAt.Store(0)
	if e.trouble == nil {
		e.trouble = new(trouble)
	}
	if e.first.IsZero() {
		e.first = time.Now()
	}
}

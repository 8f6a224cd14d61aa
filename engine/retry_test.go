package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

var errNotNow = errors.New("not now")

// delaying is a source that can have messages held, for as long as it says.
type delaying struct {
	*enginetest.Source
	lasts   func(pause time.Duration) time.Duration
	refuse  int // how often it fails to
	headers []map[string]any
	pauses  []time.Duration
}

func (d *delaying) Shortest() time.Duration  { return time.Second }
func (d *delaying) Location() string         { return "in" }
func (d *delaying) HoldLimit() time.Duration { return 30 * time.Minute }

func (d *delaying) Delay(_ context.Context, m *engine.Message, pause time.Duration, done func(error)) {
	if d.refuse > 0 {
		d.refuse--
		done(errors.New("no room"))
		return
	}
	table, _ := m.Headers.Get(engine.RetryHeader)
	d.headers = append(d.headers, table.(map[string]any))
	d.pauses = append(d.pauses, pause)
	time.AfterFunc(d.lasts(pause), func() { d.Add(m) })
	done(nil)
}

// allDay runs pipelines for a day.
func allDay(t *testing.T, p ...*engine.Pipeline) engine.PipelineStats {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	r := runner(t, engine.RunOptions{Version: "v1"}, p...)
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	return r.Stats()[0]
}

// TestRetryHeldOutside follows a message through three pauses, the second of which is held in two pieces.
func TestRetryHeldOutside(t *testing.T) {
	bubble(t, func() {
		source := &delaying{Source: enginetest.NewSource(messages("x")...), lasts: func(p time.Duration) time.Duration { return min(p, 3*time.Second) }}
		source.Endless, source.refuse = true, 1
		var tries []time.Time
		out, grave := new(enginetest.Sink), new(enginetest.Sink)
		p := one(source, out, stageFunc(func(_ context.Context, m *engine.Message, _ func(*engine.Message)) error {
			tries = append(tries, time.Now())
			return fmt.Errorf("attempt %d: %w", len(tries), errNotNow)
		}))
		p.Sinks = append(p.Sinks, sinkNode("grave", grave))
		p.Sinks[1].Named = true
		p.Retry = &engine.Retry{Attempts: 4, Min: time.Second, Max: 5 * time.Second, Factor: 5, Then: engine.Target{Name: "grave"}}
		stats := allDay(t, p)
		var pauses []string
		for i := range tries[1:] {
			pauses = append(pauses, tries[i+1].Sub(tries[i]).String())
		}
		if got := fmt.Sprint(pauses, source.pauses); got != "[1s 5s 5s] [5s 2s 5s 2s]" { // the first was refused, and waited for here
			t.Error(got)
		}
		got := grave.Received()
		if len(got) != 1 || len(out.Received()) != 0 {
			t.Fatalf("%d given up", len(got))
		}
		for name, want := range map[string]any{
			engine.HeaderReason: "attempt 4: not now", engine.HeaderKind: "stage", engine.HeaderStage: "test.a", engine.HeaderPipeline: "p",
			engine.HeaderAttempts: int64(4), engine.HeaderQueue: "in", engine.HeaderVersion: "v1", engine.HeaderFirst: tries[0].Truncate(time.Second),
		} {
			if have, _ := got[0].Headers.Get(name); have != want {
				t.Errorf("%s: %v, not %v", name, have, want)
			}
		}
		if stats.Delayed != 4 || stats.Failed != 4 || stats.Acked != 5 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestForeignHistory expects a history that is another pipeline's, or none at all, to be taken off and forgotten.
func TestForeignHistory(t *testing.T) {
	bubble(t, func() {
		var all []*engine.Message
		for _, v := range []any{
			"text", int64(3), nil,
			[]any{"x"},
			map[string]any{},
			map[string]any{"pipeline": "other", "attempt": int64(9)},
			map[string]any{"pipeline": "p", "attempt": "nine", "due": true, "first": nil, "done": map[string]any{}},
			map[string]any{"pipeline": "p", "attempt": int64(-1 << 63), "due": int64(-5), "done": []any{1, "no such", nil}},
			map[string]any{"pipeline": "p", "attempt": int64(1<<63 - 1)},
		} {
			all = append(all, engine.NewMessage(nil, map[string]any{engine.RetryHeader: v}))
		}
		source, out := enginetest.NewSource(all...), new(enginetest.Sink)
		if stats := run(t, one(source, out, pass)); stats.Out != int64(len(all)) {
			t.Errorf("%+v", stats)
		}
		for _, m := range out.Received() {
			if m.Headers.Len() != 0 {
				t.Errorf("%v", m.Headers.Table())
			}
		}
	})
}

// TestRetryWhen decides by the failure, and lets a stage's own retry go before the pipeline's.
func TestRetryWhen(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages("never", "nacked", "own")...)
		source.Keeps = true
		tries := map[string]int{}
		p := one(source, new(enginetest.Sink),
			stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
				switch body := string(m.Body); body {
				case "never":
					tries[body]++
					return engine.Permanent(errNotNow)
				case "nacked":
					tries[body]++
					return engine.WithKind(engine.KindNacked, errNotNow)
				}
				emit(m)
				return nil
			}),
			stageFunc(func(_ context.Context, m *engine.Message, _ func(*engine.Message)) error {
				tries[string(m.Body)]++
				return errNotNow
			}))
		p.Retry = &engine.Retry{Attempts: 3, Min: time.Millisecond, Max: time.Second, Factor: 2, When: func(m *engine.Message) (bool, error) {
			return m.Failure().Permanent, nil
		}}
		p.Stages[1].Retry = &engine.Retry{Attempts: 7, Min: time.Millisecond, Max: time.Second, Factor: 2}
		run(t, p)
		if fmt.Sprint(tries) != "map[nacked:1 never:3 own:7]" {
			t.Error(tries)
		}
		settledAs(t, source, engine.Reject, engine.Reject, engine.Reject)
	})
}

// TestHoldLimit expects a message that is held for long to be given back before the broker loses patience.
func TestHoldLimit(t *testing.T) {
	bubble(t, func() {
		source := &delaying{Source: enginetest.NewSource(messages("x")...)}
		source.Endless = true
		began := time.Now()
		var back time.Duration
		p := one(source, new(enginetest.Sink), stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
			if m.Redelivered {
				back = time.Since(began)
				emit(m)
				return nil
			}
			return errNotNow
		}))
		allDay(t, p)
		if back < 28*time.Minute || back > 30*time.Minute {
			t.Errorf("given back after %s", back)
		}
	})
}

// TestBreaker expects a stage that fails again and again not to be tried for a while, and no attempts to be spent meanwhile.
func TestBreaker(t *testing.T) {
	bubble(t, func() {
		const n = 20
		source, out := enginetest.NewSource(), new(enginetest.Sink)
		for i := range n {
			source.Add(engine.NewMessage(fmt.Append(nil, i), nil))
		}
		var calls []time.Duration
		began := time.Now()
		p := one(source, out, stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
			calls = append(calls, time.Since(began).Truncate(10*time.Second))
			if time.Since(began) < 25*time.Second {
				return errNotNow
			}
			emit(m)
			return nil
		}))
		p.Stages[0].Breaker = &engine.Breaker{Failures: 3, Pause: 10 * time.Second}
		log, text := logged()
		r := runner(t, engine.RunOptions{Logger: log}, p)
		if err := r.Run(context.Background()); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(calls[:6]); got != "[0s 0s 0s 10s 20s 30s]" || len(calls) != n+5 {
			t.Errorf("%s, %d calls", got, len(calls))
		}
		if len(out.Received()) != n || r.Stats()[0].Failed != 5 {
			t.Errorf("%d sent, %+v", len(out.Received()), r.Stats()[0])
		}
		for _, says := range []string{"fails again and again", "with one message", "it works again"} {
			if !strings.Contains(text.String(), says) {
				t.Errorf("the log does not say %q", says)
			}
		}
	})
}

// TestBreakerAtTheStop expects messages that wait for a breaker to go back at once.
func TestBreakerAtTheStop(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages("1", "2", "3")...)
		p := one(source, &enginetest.Sink{Outcome: func(*engine.Message) error { return errNotNow }})
		p.Sinks[0].Breaker = &engine.Breaker{Failures: 1, Pause: time.Hour}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := runner(t, engine.RunOptions{}, p).Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Minute+time.Second {
			t.Errorf("it took %s", took)
		}
		settledAs(t, source, engine.Abandon, engine.Abandon, engine.Abandon)
	})
}

// TestPauseAndResume stops the flow and lets it go on.
func TestPauseAndResume(t *testing.T) {
	bubble(t, func() {
		source, out := enginetest.NewSource(messages("1")...), new(enginetest.Sink)
		source.Endless = true
		r := runner(t, engine.RunOptions{}, one(source, out))
		r.Pause("p", true)
		r.Pause("p", true)
		r.Pause("another", true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		defer time.AfterFunc(time.Minute, func() {
			if len(out.Received()) != 0 {
				t.Error("a message has come through")
			}
			r.Pause("p", false)
			r.Pause("p", false)
		}).Stop()
		if err := r.Run(ctx); err != nil || len(out.Received()) != 1 {
			t.Errorf("%v, %d messages", err, len(out.Received()))
		}
	})
}

// TestPartsHaveIDs expects what a message became to have ids of its own, the same at every attempt.
func TestPartsHaveIDs(t *testing.T) {
	twice := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		emit(m)
		emit(m)
		return nil
	})
	named := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		c := m.Clone()
		c.Properties.MessageID = "its own"
		emit(c)
		emit(m)
		return nil
	})
	long := strings.Repeat("x", 254)
	for _, c := range []struct {
		id     string
		stages []engine.Stage
		want   string
	}{
		{"m", []engine.Stage{pass}, "m"},
		{"m", []engine.Stage{twice}, "m/1 m/2"},
		{"m", []engine.Stage{twice, pass, twice}, "m/1/1 m/1/2 m/2/1 m/2/2"},
		{"m", []engine.Stage{named}, "its own m/2"},
		{"", []engine.Stage{twice}, " "},
		{long, []engine.Stage{twice}, long + " " + long},
	} {
		m := engine.NewMessage(nil, nil)
		m.Properties.MessageID = c.id
		out := new(enginetest.Sink)
		run(t, one(enginetest.NewSource(m), out, c.stages...))
		var ids []string
		for _, m := range out.Received() {
			ids = append(ids, m.Properties.MessageID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s, not %s", got, c.want)
		}
	}
}

// TestRetryMistakes expects a runner not to be made of what does not fit together.
func TestRetryMistakes(t *testing.T) {
	p := one(enginetest.NewSource(), new(enginetest.Sink), pass)
	p.Retry = &engine.Retry{Then: engine.Target{Name: "nowhere"}}
	p.Stages[0].Retry = &engine.Retry{Then: engine.Target{Branch: true, Name: "out"}}
	p.Sinks[0].Fallback = engine.Target{Name: "out"}
	p.Sinks[0].OnUnroutable.Target = engine.Target{Name: "gone"}
	_, err := engine.NewRunner(engine.RunOptions{}, p)
	for _, says := range []string{"retry: retry names sink.nowhere", "test.a: retry names pipeline.out", "leads back to itself", "on_unroutable names sink.gone"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

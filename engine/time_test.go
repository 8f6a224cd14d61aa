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

// TestHeld expects that a message that fails is tried again with pauses that double, up to a minute, from the message as it came in,
// while others go on.
func TestHeld(t *testing.T) {
	bubble(t, func() {
		source, sink := enginetest.NewSource(messages("bad", "good")...), new(enginetest.Sink)
		var tries []time.Time
		stage := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
			if string(m.Body) == "bad" {
				tries = append(tries, time.Now())
				if _, seen := m.Headers.Get("tried"); seen || m.Targets() != nil {
					t.Error("the message is not as it came in")
				}
				if len(tries) < 15 {
					m.Headers.Set("tried", true)
					m.SendTo(engine.Target{Name: "nowhere"})
					return errors.New("not yet")
				}
			}
			emit(m)
			return nil
		})
		stats := run(t, one(source, sink, stage))
		settledAs(t, source, engine.Ack, engine.Ack)
		if got := bodies(sink.Received()); got != "good bad" {
			t.Errorf("sent: %s", got)
		}
		if stats.Failed != 14 || stats.Retried != 14 || stats.In != 2 || stats.Out != 2 || stats.Acked != 2 {
			t.Errorf("%+v", stats)
		}
		want := 100 * time.Millisecond
		for i := 1; i < len(tries); i++ {
			if pause := tries[i].Sub(tries[i-1]); pause > want || pause < want*4/5 {
				t.Errorf("pause %d is %s, not about %s", i, pause, want)
			}
			want = min(2*want, time.Minute)
		}
	})
}

func TestHeldUntilTheStop(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages("bad")...)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		began := time.Now()
		r := runner(t, engine.RunOptions{}, one(source, new(enginetest.Sink), failing(engine.Permanent(errors.New("never")))))
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		settledAs(t, source, engine.Abandon)
		if took := time.Since(began); took != time.Hour {
			t.Errorf("the run took %s: what is held need not be waited for", took)
		}
	})
}

func TestSessionEndsWhileHeld(t *testing.T) {
	bubble(t, func() {
		source, sink := enginetest.NewSource(messages("x")...), new(enginetest.Sink)
		stage := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
			if !m.Redelivered {
				return errors.New("not yet")
			}
			emit(m)
			return nil
		})
		time.AfterFunc(time.Second, source.Break)
		run(t, one(source, sink, stage))
		settledAs(t, source, engine.Ack)
		if source.Deliveries(0) != 2 || len(sink.Received()) != 1 {
			t.Errorf("%d deliveries, %d sent", source.Deliveries(0), len(sink.Received()))
		}
	})
}

func TestStageTimeout(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages("x")...)
		source.Keeps = true
		waits := stageFunc(func(ctx context.Context, _ *engine.Message, _ func(*engine.Message)) error {
			<-ctx.Done()
			return ctx.Err()
		})
		p := one(source, new(enginetest.Sink), waits)
		p.Stages[0].Timeout = 3 * time.Second
		began := time.Now()
		log, said := logged()
		if err := runner(t, engine.RunOptions{Logger: log}, p).Run(context.Background()); err != nil {
			t.Error(err)
		}
		settledAs(t, source, engine.Reject)
		if time.Since(began) != 3*time.Second || !strings.Contains(said.String(), "kind=timeout") || !strings.Contains(said.String(), "took longer than 3s") {
			t.Errorf("after %s: %s", time.Since(began), said)
		}
	})
}

func TestSinkTimeout(t *testing.T) {
	bubble(t, func() {
		source, sink := enginetest.NewSource(messages("x")...), &enginetest.Sink{Later: true}
		source.Keeps = true
		p := one(source, sink)
		p.Sinks[0].Timeout = 3 * time.Second
		began := time.Now()
		run(t, p)
		settledAs(t, source, engine.Reject)
		if time.Since(began) != 3*time.Second {
			t.Errorf("after %s", time.Since(began))
		}
		sink.Release() // too late: it changes nothing
		settledAs(t, source, engine.Reject)
	})
}

// TestConcurrency expects that limits hold, and that nothing is sent beyond them.
func TestConcurrency(t *testing.T) {
	bubble(t, func() {
		var all []*engine.Message
		for i := range 50 {
			all = append(all, messages(fmt.Sprint(i))...)
		}
		source, sink := enginetest.NewSource(all...), &enginetest.Sink{Later: true}
		inside, most := make(chan struct{}, 100), 0
		stage := stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
			inside <- struct{}{}
			time.Sleep(time.Millisecond)
			most = max(most, len(inside)) // at most two at once: Concurrency of the stage is 1
			<-inside
			emit(m)
			return nil
		})
		p := one(source, sink, stage)
		p.Concurrency = 8
		p.Stages[0].Concurrency = 1
		p.Sinks[0].Concurrency = 3
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for sink.Waiting() > 0 || len(sink.Received()) < 50 {
				<-ticker.C
				if n := sink.Waiting(); n > 3 {
					t.Errorf("%d messages are unconfirmed at once", n)
				}
				sink.Release()
			}
		}()
		run(t, p)
		<-done
		if most != 1 {
			t.Errorf("%d calls of the stage at once", most)
		}
		if source.Count(engine.Ack) != 50 {
			t.Errorf("%d are acknowledged", source.Count(engine.Ack))
		}
	})
}

// TestDrain expects that a stop lets finish what is under way, for the drain timeout.
func TestDrain(t *testing.T) {
	for name, test := range map[string]struct {
		confirmed time.Duration // after the stop; 0: never
		hurry     time.Duration // Stop is called; 0: never
		took      time.Duration
		want      engine.Outcome
	}{
		"in time":  {10 * time.Second, 0, 10 * time.Second, engine.Ack},
		"too late": {40 * time.Second, 0, 30 * time.Second, engine.Abandon},
		"never":    {0, 0, 30 * time.Second, engine.Abandon},
		"hurried":  {10 * time.Second, 2 * time.Second, 2 * time.Second, engine.Abandon},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func() {
				source, sink := enginetest.NewSource(messages("x", "y")...), &enginetest.Sink{Later: true}
				source.Endless = true
				r := runner(t, engine.RunOptions{DrainTimeout: 30 * time.Second}, one(source, sink))
				ctx, cancel := context.WithCancel(context.Background())
				var stopped time.Time
				time.AfterFunc(time.Second, func() {
					stopped = time.Now()
					cancel()
					source.Add(messages("after the stop")...)
					if test.confirmed > 0 {
						time.AfterFunc(test.confirmed, func() { sink.Release() })
					}
					if test.hurry > 0 {
						time.AfterFunc(test.hurry, r.Stop)
					}
				})
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
				if took := time.Since(stopped); took != test.took {
					t.Errorf("it took %s, not %s", took, test.took)
				}
				settledAs(t, source, test.want, test.want)
				if source.Deliveries(2) != 0 {
					t.Error("a message was taken after the stop")
				}
				time.Sleep(time.Minute) // what is told later changes nothing
				settledAs(t, source, test.want, test.want)
			})
		})
	}
}

// gather makes one message of a group.
type gather struct{ err error }

func (g gather) Aggregate(_ context.Context, group []*engine.Message, emit func(*engine.Message)) error {
	if g.err != nil {
		return g.err
	}
	emit(engine.NewMessage([]byte(strings.ReplaceAll(bodies(group), " ", "+")), nil))
	return nil
}

func groups(g engine.Group, a engine.Aggregator) engine.StageNode {
	return engine.StageNode{Kind: "test", Name: "group", Aggregator: a, Group: g}
}

func byFirstLetter(m *engine.Message) (string, error) {
	if len(m.Body) == 0 {
		return "", errors.New("no letter")
	}
	return string(m.Body[:1]), nil
}

func TestGroups(t *testing.T) {
	for name, test := range map[string]struct {
		group engine.Group
		in    string
		want  string
		took  time.Duration
	}{
		"by size":           {engine.Group{Size: 2, Age: time.Hour}, "a b c d", "a+b c+d", 0},
		"by age":            {engine.Group{Size: 9, Age: time.Minute}, "a b c", "a+b+c", time.Minute},
		"by bytes":          {engine.Group{Bytes: 4, Age: time.Minute}, "aaa bb cccc d", "aaa+bb cccc d", time.Minute},
		"by key":            {engine.Group{Size: 2, Age: time.Minute, Key: byFirstLetter}, "a1 b1 a2 c1 b2", "a1+a2 b1+b2 c1", time.Minute},
		"one message":       {engine.Group{Size: 1, Age: time.Minute}, "a b", "a b", 0},
		"nothing but a age": {engine.Group{Age: time.Second}, "a b", "a+b", time.Second},
	} {
		for _, lanes := range []int{1, 4} {
			t.Run(fmt.Sprint(name, ", ", lanes, " lanes"), func(t *testing.T) {
				bubble(t, func() {
					source, sink := enginetest.NewSource(messages(strings.Fields(test.in)...)...), new(enginetest.Sink)
					p := one(source, sink, pass)
					p.Stages = append(p.Stages, groups(test.group, gather{}))
					p.Concurrency = lanes
					began := time.Now()
					stats := run(t, p)
					if got := bodies(sink.Received()); got != test.want {
						t.Errorf("%s, not %s", got, test.want)
					}
					if took := time.Since(began); took != test.took {
						t.Errorf("after %s, not %s", took, test.took)
					}
					if n := len(strings.Fields(test.in)); source.Count(engine.Ack) != n || stats.Acked != int64(n) {
						t.Errorf("%+v", stats)
					}
				})
			})
		}
	}
}

// TestGroupOwes expects that no member is acknowledged before what the group became is confirmed.
func TestGroupOwes(t *testing.T) {
	bubble(t, func() {
		source, sink := enginetest.NewSource(messages("a", "b")...), &enginetest.Sink{Later: true}
		p := one(source, sink)
		p.Stages = []engine.StageNode{groups(engine.Group{Size: 2, Age: time.Hour}, gather{})}
		time.AfterFunc(time.Minute, func() {
			for i := range 2 {
				if _, ok := source.Outcome(i); ok {
					t.Error("settled too early")
				}
			}
			sink.Release()
		})
		run(t, p)
		settledAs(t, source, engine.Ack, engine.Ack)
	})
}

func TestGroupFails(t *testing.T) {
	bubble(t, func() {
		source := enginetest.NewSource(messages("a", "b", "")...)
		source.Keeps = true
		p := one(source, new(enginetest.Sink))
		p.Stages = []engine.StageNode{groups(engine.Group{Size: 2, Age: time.Hour, Key: func(m *engine.Message) (string, error) {
			_, err := byFirstLetter(m)
			return "", err
		}}, gather{errors.New("no")})}
		stats := run(t, p)
		settledAs(t, source, engine.Reject, engine.Reject, engine.Reject)
		if stats.Failed != 3 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestGroupFailureIsSentOn(t *testing.T) {
	bubble(t, func() {
		source, sink, errs := enginetest.NewSource(messages("a", "b")...), new(enginetest.Sink), new(enginetest.Sink)
		p := one(source, sink)
		node := groups(engine.Group{Size: 2, Age: time.Hour}, gather{errors.New("no")})
		node.OnError = engine.OnError{Action: engine.OnErrorSend, Target: engine.Target{Name: "errors"}}
		p.Stages = []engine.StageNode{node}
		p.Sinks = append(p.Sinks, engine.SinkNode{Kind: "test", Name: "errors", Sink: errs, Named: true})
		run(t, p)
		settledAs(t, source, engine.Ack, engine.Ack)
		if bodies(errs.Received()) != "a b" || len(sink.Received()) != 0 {
			t.Errorf("%s, and %s", bodies(errs.Received()), bodies(sink.Received()))
		}
		for _, m := range errs.Received() {
			if f := m.Failure(); f == nil || f.Component != "test.group" || f.Message() != "no" {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestStopCompletesGroups expects that nobody waits for the age of a group at the stop.
func TestStopCompletesGroups(t *testing.T) {
	bubble(t, func() {
		source, sink := enginetest.NewSource(messages("a", "b")...), new(enginetest.Sink)
		source.Endless = true
		p := one(source, sink)
		p.Stages = []engine.StageNode{groups(engine.Group{Size: 3, Age: time.Hour}, gather{})}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := runner(t, engine.RunOptions{}, p).Run(ctx); err != nil {
			t.Error(err)
		}
		settledAs(t, source, engine.Ack, engine.Ack)
		if got := bodies(sink.Received()); got != "a+b" || time.Since(began) != time.Minute {
			t.Errorf("%q after %s", got, time.Since(began))
		}
	})
}

// TestNothingIsToleratedWhenTimeIsOver expects that what could not be sent in the time to drain is not taken for a failure
// that on_error tolerates.
func TestNothingIsToleratedWhenTimeIsOver(t *testing.T) {
	for _, action := range []engine.OnErrorAction{engine.OnErrorContinue, engine.OnErrorDrop} {
		bubble(t, func() {
			source, sink := enginetest.NewSource(messages("sent", "waits")...), &enginetest.Sink{Later: true}
			p := one(source, sink)
			p.Sinks[0].Concurrency = 1
			p.Sinks[0].OnError.Action = action
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := runner(t, engine.RunOptions{}, p).Run(ctx); err != nil {
				t.Error(err)
			}
			settledAs(t, source, engine.Abandon, engine.Abandon)
		})
	}
}

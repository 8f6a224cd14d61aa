package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// diary is a tracer that notes which span ended when, and how.
type diary struct {
	mu    sync.Mutex
	began time.Time
	lines []string
}

func (d *diary) Process(a engine.Attempt) engine.Span {
	return &page{diary: d, name: fmt.Sprintf("process, attempt %d, after another: %v", a.Number, a.Before != nil)}
}

func (d *diary) Group(_ string, s *engine.StageNode, members []engine.Span) engine.Span {
	return &page{diary: d, name: fmt.Sprintf("%s of %d", s.Name, len(members))}
}

// page is a span of a diary.
type page struct {
	diary *diary
	name  string
	how   string
}

func (p *page) Stage(_ string, s *engine.StageNode, _ *engine.Message) engine.Span {
	return &page{diary: p.diary, name: "stage " + s.Name}
}

func (p *page) Publish(_, component string, _ engine.Address, _ *engine.Message) engine.Span {
	return &page{diary: p.diary, name: "publish " + component}
}

func (p *page) Settle(o engine.Outcome) engine.Span {
	return &page{diary: p.diary, name: o.String()}
}

func (p *page) Discard()                                    { p.how += ", discarded" }
func (p *page) Fail(f *engine.Failure)                      { p.how += ", failed: " + f.Message() }
func (p *page) Context(ctx context.Context) context.Context { return ctx }
func (p *page) IDs() (trace, span string)                   { return "", "" }

func (p *page) End() {
	p.diary.mu.Lock()
	defer p.diary.mu.Unlock()
	p.diary.lines = append(p.diary.lines, fmt.Sprintf("%s: %s%s", p.name, time.Since(p.diary.began), p.how))
}

// TestSpans expects that every span ends when what it stands for ends: that of a sink at the confirm, that of an attempt at its settlement
// or where the pause before the next one begins.
func TestSpans(t *testing.T) {
	no := errors.New("no")
	for name, test := range map[string]struct {
		stage engine.Stage
		retry *engine.Retry
		group bool
		want  []string
	}{
		"confirmed late": {stage: pass, want: []string{
			"stage a: 0s", "publish sink.out: 1m0s", "ack: 1m0s", "process, attempt 1, after another: false: 1m0s",
		}},
		"dropped": {stage: stageFunc(func(context.Context, *engine.Message, func(*engine.Message)) error { return nil }), want: []string{
			"stage a: 0s, discarded", "ack: 0s", "process, attempt 1, after another: false: 0s",
		}},
		"tried again": {stage: failing(no), retry: &engine.Retry{Attempts: 2, Min: time.Second, Max: time.Second}, want: []string{
			"stage a: 0s, failed: no", "process, attempt 1, after another: false: 0s, failed: no",
			"stage a: 1s, failed: no", "reject: 1s", "process, attempt 2, after another: true: 1s, failed: no",
		}},
		"a group": {stage: pass, group: true, want: []string{
			"stage a: 0s", "publish sink.out: 1m0s", "group of 1: 1m0s", "ack: 1m0s", "process, attempt 1, after another: false: 1m0s",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func() {
				source, sink := enginetest.NewSource(messages("x")...), &enginetest.Sink{Later: true}
				source.Keeps = true
				p := one(source, sink, test.stage)
				p.Retry = test.retry
				if test.group {
					p.Stages = append(p.Stages, groups(engine.Group{Size: 1, Age: time.Hour}, gather{}))
				}
				d := &diary{began: time.Now()}
				time.AfterFunc(time.Minute, func() { sink.Release() })
				if err := runner(t, engine.RunOptions{Tracer: d}, p).Run(context.Background()); err != nil {
					t.Error(err)
				}
				if !slices.Equal(d.lines, test.want) {
					t.Errorf("%q\nnot\n%q", d.lines, test.want)
				}
			})
		})
	}
}

package enginetest_test

import (
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

func TestBroker(t *testing.T) {
	b := enginetest.NewBroker(t)
	b.Declare("q", "other")
	sent := enginetest.Samples()
	b.Publish("q", sent...)
	got := b.Expect("q", len(sent))
	for i, m := range got {
		want := sent[i]
		want.RoutingKey, want.Exchange, want.Redelivered, want.DeliveryCount = "q", "", false, 0
		if diff := enginetest.Diff(want, m); diff != "" {
			t.Errorf("message %d came back otherwise: %s", i, diff)
		}
	}
	b.ExpectEmpty("q")
	b.ExpectEmpty("other")
}

// A test that expects the wrong thing fails.
func TestBrokerFails(t *testing.T) {
	for name, test := range map[string]func(*enginetest.Broker){
		"more than came":  func(b *enginetest.Broker) { b.Expect("q", 2) },
		"fewer than came": func(b *enginetest.Broker) { b.Expect("q", 0) },
		"not empty":       func(b *enginetest.Broker) { b.ExpectEmpty("q") },
		"no queue":        func(b *enginetest.Broker) { b.Publish("nosuch", engine.NewMessage(nil, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			if !fails(t, func(t testing.TB) {
				b := enginetest.NewBroker(t)
				b.Patience = 100 * time.Millisecond
				b.Declare("q")
				b.Publish("q", engine.NewMessage([]byte("m"), nil))
				test(b)
			}) {
				t.Error("it passes")
			}
		})
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatal(...any)          { r.fail() }
func (r *recorder) Fatalf(string, ...any) { r.fail() }

func (r *recorder) fail() {
	r.failed = true
	panic(r)
}

func fails(t testing.TB, test func(testing.TB)) (failed bool) {
	r := &recorder{TB: t}
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
		failed = r.failed
	}()
	test(r)
	return
}

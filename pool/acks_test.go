package pool

import (
	"testing"

	"pgregory.net/rapid"
)

// naiveBroker is what RabbitMQ does with acknowledgements: a set of tags.
type naiveBroker struct {
	t       *rapid.T
	unacked map[uint64]bool
	acked   map[uint64]bool
}

func (b *naiveBroker) ack(tag uint64, multiple bool) {
	if !b.unacked[tag] {
		b.t.Fatalf("ack of %d, which is not outstanding: the broker would close the channel", tag)
	}
	for o := range b.unacked {
		if o == tag || (multiple && o < tag) {
			delete(b.unacked, o)
			b.acked[o] = true
		}
	}
}

// TestTracker compares the tracker with a model that keeps every tag's outcome: what the broker is told
// is exactly what was settled so, never more.
func TestTracker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefetch := rapid.IntRange(1, 40).Draw(t, "prefetch")
		tr := newTracker(prefetch)
		b := &naiveBroker{t: t, unacked: map[uint64]bool{}, acked: map[uint64]bool{}}
		outcomes := map[uint64]Outcome{}
		var open []uint64
		var last uint64
		check := func() {
			for tag := range b.acked {
				if o, ok := outcomes[tag]; !ok || o != Ack {
					t.Fatalf("%d was acknowledged; its outcome is %v (settled: %v)", tag, o, ok)
				}
			}
			if tr.unsettled != len(open) {
				t.Fatalf("%d are unsettled, not %d", len(open), tr.unsettled)
			}
			want := 0
			for tag, o := range outcomes {
				if o == Ack && !b.acked[tag] {
					want++
				}
			}
			if tr.waiting() != want {
				t.Fatalf("%d acknowledgements wait, not %d", want, tr.waiting())
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					if len(b.unacked) >= prefetch {
						return
					}
					last++
					tr.add(last)
					b.unacked[last] = true
					open = append(open, last)
				}
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					return
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "i")
				if rapid.Bool().Draw(t, "oldest") {
					i = 0
				}
				tag := open[i]
				open = append(open[:i], open[i+1:]...)
				o := Ack
				if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
					o = rapid.SampledFrom([]Outcome{Abandon, Reject, Requeue}).Draw(t, "outcome")
				}
				if !tr.settle(tag, o) {
					t.Fatalf("settling %d was refused", tag)
				}
				outcomes[tag] = o
				if o == Reject || o == Requeue {
					delete(b.unacked, tag)
				}
				if tr.due() {
					tr.flush(false, b.ack)
					if tr.due() {
						t.Fatal("still due after a flush")
					}
				}
			},
			"settle again": func(t *rapid.T) {
				tag := rapid.Uint64Range(0, last+2).Draw(t, "tag")
				if _, ok := outcomes[tag]; (ok || tag == 0 || tag > last) && tr.settle(tag, Ack) {
					t.Fatalf("%d was settled again", tag)
				}
			},
			"flush": func(t *rapid.T) {
				all := rapid.Bool().Draw(t, "all")
				before := len(b.acked)
				n, _ := tr.flush(all, b.ack)
				if n != len(b.acked)-before {
					t.Fatalf("flush says %d, the broker %d", n, len(b.acked)-before)
				}
				if all && tr.waiting() != 0 {
					t.Fatal("something waits after all was flushed")
				}
			},
			"": func(*rapid.T) { check() },
		})
	})
}

// TestTrackerMemory holds one delivery while a million others pass: memory is bounded by the prefetch.
func TestTrackerMemory(t *testing.T) {
	const prefetch = 100
	tr := newTracker(prefetch)
	ack := func(uint64, bool) {}
	tr.add(1)
	for tag := uint64(2); tag < 1_000_000; tag++ {
		tr.add(tag)
		if !tr.settle(tag, Ack) {
			t.Fatal(tag)
		}
		if tr.due() {
			tr.flush(false, ack)
		}
	}
	if n := len(tr.entries); n > 4*compactAt {
		t.Errorf("%d entries are kept", n)
	}
	if !tr.settle(1, Ack) {
		t.Error("the oldest cannot be settled")
	}
	tr.flush(true, ack)
	if tr.unsettled != 0 || tr.waiting() != 0 {
		t.Errorf("%+v", tr)
	}
}

func TestTrackerDoesNotAllocate(t *testing.T) {
	tr := newTracker(500)
	ack := func(uint64, bool) {}
	tag := uint64(0)
	n := testing.AllocsPerRun(10_000, func() { trackerStep(&tr, &tag, ack) })
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func trackerStep(tr *tracker, tag *uint64, ack func(uint64, bool)) {
	*tag++
	tr.add(*tag)
	tr.settle(*tag, Ack)
	if tr.due() {
		tr.flush(false, ack)
	}
}

func BenchmarkTracker(b *testing.B) {
	b.ReportAllocs()
	tr := newTracker(500)
	ack := func(uint64, bool) {}
	tag := uint64(0)
	for b.Loop() {
		trackerStep(&tr, &tag, ack)
	}
}

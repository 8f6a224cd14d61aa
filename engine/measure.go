package engine

import (
	"sync/atomic"
	"time"
)

// DurationBounds are the upper bounds of the buckets of [Durations], in seconds. The last bucket has none.
var DurationBounds = []float64{
	1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600, 3600,
}

const durationBuckets = 24

// boundsNanos are the bounds in nanoseconds.
var boundsNanos = func() (bounds [durationBuckets - 1]int64) {
	for i, seconds := range DurationBounds {
		bounds[i] = int64(seconds * 1e9)
	}
	return bounds
}()

// Durations counts how long something took. The zero value is none.
type Durations struct {
	Buckets   [durationBuckets]uint64 // by [DurationBounds]
	Sum       time.Duration
	Exemplars []Exemplar
}

// Count returns how many durations there are.
func (d *Durations) Count() (n uint64) {
	for _, c := range d.Buckets {
		n += c
	}
	return n
}

// Add adds other durations, which were counted elsewhere.
func (d *Durations) Add(other Durations) {
	for i, c := range other.Buckets {
		d.Buckets[i] += c
	}
	d.Sum += other.Sum
	d.Exemplars = append(d.Exemplars, other.Exemplars...)
}

// Exemplar is one duration whose message was traced.
type Exemplar struct {
	Took time.Duration
	At   time.Time
	// Trace and Span are ids in hexadecimal digits.
	Trace, Span string
}

// histogram is what Durations are read from. It may be used from many goroutines, and locks nothing.
type histogram struct {
	counts    [durationBuckets]atomic.Uint64
	sum       atomic.Int64
	exemplars [durationBuckets]atomic.Pointer[Exemplar]
}

// record counts a duration; s is the span of what took it, or nil.
func (h *histogram) record(took time.Duration, s Span) {
	i := 0
	for i < len(boundsNanos) && int64(took) > boundsNanos[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(took))
	if s != nil {
		trace, span := s.IDs()
		h.exemplars[i].Store(&Exemplar{Took: took, At: time.Now(), Trace: trace, Span: span})
	}
}

func (h *histogram) read() (d Durations) {
	for i := range h.counts {
		d.Buckets[i] = h.counts[i].Load()
		if e := h.exemplars[i].Load(); e != nil {
			d.Exemplars = append(d.Exemplars, *e)
		}
	}
	d.Sum = time.Duration(h.sum.Load())
	return d
}

// epoch is what moments are counted from: reading the monotonic clock alone costs half of time.Now.
var epoch = time.Now()

// meter counts what a component does. All graphs share it. A nil meter counts nothing, and costs nothing.
type meter struct {
	received, sent, discarded atomic.Int64
	gathered                  atomic.Int64 // messages that shared a call with another: those of a group, but for one
	errors                    [len(kinds)]atomic.Int64
	took                      histogram
}

// receive counts a message that a component is handed.
func (m *meter) receive() {
	if m != nil {
		m.received.Add(1)
	}
}

// now returns the present moment, for stop.
func (m *meter) now() time.Duration {
	if m == nil {
		return 0
	}
	return time.Since(epoch)
}

// fail counts a failure of a component that did not come to its work, as that of a condition.
func (m *meter) fail(err error) {
	if m != nil {
		m.errors[kindIndex(KindOf(err))].Add(1)
	}
}

// stop counts a call that was handed messages, ended with err and sent messages.
func (m *meter) stop(start time.Duration, handed, sent int, err error, s Span) {
	if m == nil {
		return
	}
	if handed > 1 {
		m.gathered.Add(int64(handed - 1))
	}
	m.took.record(time.Since(epoch)-start, s)
	switch {
	case err != nil:
		m.fail(err)
	case sent == 0:
		m.discarded.Add(int64(handed))
	default:
		m.sent.Add(int64(sent))
	}
}

// ComponentStats counts what a stage or a sink has done since its pipeline started.
type ComponentStats struct {
	Pipeline string // the one that it is written in
	Role     Role   // RoleStage or RoleSink
	Kind     string
	Name     string
	Address  Address // of a sink

	Received  int64 // messages that it was handed
	Sent      int64 // messages that it emitted, or that were confirmed
	Discarded int64 // messages that it dropped on purpose
	// Errors counts failures by their kind; kinds that there were none of are left out.
	Errors map[Kind]int64
	// Took is how long the calls of a stage took; of a sink, the time to the confirm.
	Took Durations

	gathered int64
}

// InFlight returns how many messages a component is at work on; those among them that wait in a group for others.
func (c *ComponentStats) InFlight() int64 { return c.Received - c.Finished() }

// Finished returns how many of the messages that a component was handed have their outcome.
func (c *ComponentStats) Finished() int64 { return int64(c.Took.Count()) + c.gathered }

// Add adds what was counted elsewhere, as by an earlier run of the same pipeline.
func (c *ComponentStats) Add(o ComponentStats) {
	c.Received += o.Received
	c.Sent += o.Sent
	c.Discarded += o.Discarded
	c.gathered += o.gathered
	for kind, n := range o.Errors {
		c.Errors[kind] += n
	}
	c.Took.Add(o.Took)
}

func (m *meter) read(c ComponentStats) ComponentStats {
	c.Took, c.gathered = m.took.read(), m.gathered.Load() // first: what is under way is never less than nothing
	c.Received, c.Sent, c.Discarded = m.received.Load(), m.sent.Load(), m.discarded.Load()
	c.Errors = map[Kind]int64{}
	for i := range m.errors {
		if n := m.errors[i].Load(); n > 0 {
			c.Errors[kinds[i]] = n
		}
	}
	return c
}

// Components returns the counters of every stage and sink, in the order of the pipelines; nothing unless RunOptions.Measure is
// set. It may be called at any time, from any goroutine.
func (r *Runner) Components() (all []ComponentStats) {
	if !r.options.Measure {
		return nil
	}
	for _, p := range r.pipelines {
		for i := range p.Stages {
			s := &p.Stages[i]
			all = append(all, r.meters[s].read(ComponentStats{Pipeline: p.Name, Role: RoleStage, Kind: s.Kind, Name: s.Name}))
		}
		for i := range p.Sinks {
			s := &p.Sinks[i]
			all = append(all, r.meters[s].read(ComponentStats{
				Pipeline: p.Name, Role: RoleSink, Kind: s.Kind, Name: s.Name, Address: addressOf(s.Sink),
			}))
		}
	}
	return all
}

package engine_test

import (
	"fmt"
	"hash/fnv"

	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
)

// plan is a random set of pipelines and what happens in them. Everything that a stage or sink does with a message is
// a function of the plan, so that a reference (see reference_test.go) can tell what must come of it.
type plan struct {
	seed      uint64
	pipelines []planned // the first one has the source; the others are branches
	messages  int
	chunk     int
	order     engine.Order
	lanes     int // Concurrency of the first pipeline
	keeps     bool
	breaks    []int // milliseconds after which the session ends
	stop      int   // milliseconds after which the run is stopped; 0: never
	never     bool  // some sinks never tell an outcome
}

type planned struct {
	name          string
	stages        []plannedStage
	sinks         []plannedSink
	dropUnmatched bool
}

type plannedStage struct {
	name    string
	onError engine.OnErrorAction
	errorTo int // a sink of the pipeline, for OnErrorSend
	troubleOptions
	targets []engine.Target // what it may choose from
	slots   int
}

type plannedSink struct {
	name    string
	named   bool
	onError engine.OnErrorAction
	errorTo int // a sink behind it, for OnErrorSend
	troubleOptions
	slots int
}

type troubleOptions struct {
	when    bool // has a condition
	trouble int  // how many in ten messages go wrong
}

func drawPlan(t *rapid.T) *plan {
	p := &plan{
		seed:     rapid.Uint64().Draw(t, "seed"),
		messages: rapid.IntRange(1, 40).Draw(t, "messages"),
		chunk:    rapid.IntRange(1, 16).Draw(t, "chunk"),
		order:    rapid.SampledFrom([]engine.Order{engine.OrderStrict, engine.OrderNone, engine.OrderByKey}).Draw(t, "order"),
		lanes:    rapid.SampledFrom([]int{0, 1, 2, 8}).Draw(t, "lanes"),
		keeps:    rapid.Bool().Draw(t, "keeps"),
	}
	if rapid.IntRange(0, 3).Draw(t, "breaks?") == 0 {
		p.breaks = rapid.SliceOfN(rapid.IntRange(0, 400), 1, 4).Draw(t, "breaks")
	}
	if rapid.IntRange(0, 3).Draw(t, "stops?") == 0 {
		p.stop = rapid.IntRange(1, 1000).Draw(t, "stop")
		p.never = rapid.Bool().Draw(t, "never")
	}
	branches := rapid.IntRange(0, 2).Draw(t, "branches")
	for i := range branches + 1 {
		p.pipelines = append(p.pipelines, drawPipeline(t, i, branches))
	}
	return p
}

var actions = []engine.OnErrorAction{engine.OnErrorFail, engine.OnErrorFail, engine.OnErrorContinue, engine.OnErrorDrop, engine.OnErrorSend}

func drawPipeline(t *rapid.T, i, branches int) planned {
	p := planned{name: fmt.Sprintf("p%d", i), dropUnmatched: rapid.Bool().Draw(t, "drop unmatched")}
	sinks := rapid.IntRange(1, 3).Draw(t, "sinks")
	targets := []engine.Target(nil)
	for k := range sinks {
		s := plannedSink{
			name: fmt.Sprintf("s%d%d", i, k), named: rapid.Bool().Draw(t, "named"),
			onError: rapid.SampledFrom(actions).Draw(t, "on_error"), troubleOptions: drawTrouble(t),
			slots: rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "slots"),
		}
		if k == sinks-1 && s.onError == engine.OnErrorSend {
			s.onError = engine.OnErrorFail // there is none behind it
		}
		s.errorTo = k + 1
		p.sinks = append(p.sinks, s)
		targets = append(targets, engine.Target{Name: s.name})
	}
	for b := i + 1; b <= branches; b++ {
		targets = append(targets, engine.Target{Branch: true, Name: fmt.Sprintf("p%d", b)})
	}
	for k := range rapid.IntRange(0, 4).Draw(t, "stages") {
		p.stages = append(p.stages, plannedStage{
			name: fmt.Sprintf("t%d%d", i, k), targets: targets,
			onError: rapid.SampledFrom(actions).Draw(t, "on_error"), troubleOptions: drawTrouble(t),
			errorTo: rapid.IntRange(0, sinks-1).Draw(t, "error sink"),
			slots:   rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "slots"),
		})
	}
	return p
}

func drawTrouble(t *rapid.T) troubleOptions {
	return troubleOptions{
		when:    rapid.Bool().Draw(t, "when"),
		trouble: rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "trouble"),
	}
}

// identity is what tells one message of a run from another.
type identity struct {
	attempt
	trail string // the stages that it went through, and which of their outputs it is
}

// attempt is one of the attempts at a delivery of a message.
type attempt struct {
	root     int // the message
	delivery int // how often the source has handed it over
	try      int // counted from 1
}

// age is how often the message has been tried in all, once.
func (a attempt) age() int { return a.delivery - 1 + a.try }

// chance returns a number below n for a question about a message at a component.
func (p *plan) chance(n int, question, component string, id identity) int {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %v %s", p.seed, question, component, id.attempt, id.trail)
	// FNV mixes the last bytes badly into the low bits.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return int(x % uint64(n))
}

// lastTrouble is the attempt from which on everything goes well.
const lastTrouble = 4

// what a condition says.
type verdict int

const (
	applies verdict = iota
	skips
	cannotTell
)

func (p *plan) condition(o troubleOptions, name string, id identity) verdict {
	if !o.when {
		return applies
	}
	if id.age() < lastTrouble && p.chance(10, "condition fails", name, id) < o.trouble {
		return cannotTell
	}
	if p.chance(4, "condition", name, id) == 0 {
		return skips
	}
	return applies
}

// doing is what a stage does with a message.
type doing int

const (
	passes doing = iota
	drops
	splits // into a copy, the message and another copy
	sends  // chooses targets
	fails
	failsForGood
	panics
	emitsAndFails
)

func (p *plan) doing(s *plannedStage, id identity) doing {
	if id.age() < lastTrouble && p.chance(10, "trouble", s.name, id) < s.trouble {
		return []doing{fails, failsForGood, panics, emitsAndFails}[p.chance(4, "which", s.name, id)]
	}
	return []doing{passes, passes, passes, drops, splits, sends}[p.chance(6, "does", s.name, id)]
}

func (p *plan) target(s *plannedStage, id identity) []engine.Target {
	n := p.chance(3, "targets", s.name, id)
	var to []engine.Target
	for i := range n {
		to = append(to, s.targets[p.chance(len(s.targets), fmt.Sprint("target", i), s.name, id)])
	}
	return to
}

// ending is how a sink ends a message.
type ending int

const (
	confirms   ending = iota
	refuses           // for good
	loses             // the connection, say
	breaksDown        // panics
	keepsQuiet        // tells nothing
)

func (p *plan) ending(s *plannedSink, id identity) ending {
	if p.never && p.chance(10, "never", s.name, id) == 0 {
		return keepsQuiet
	}
	if id.age() < lastTrouble && p.chance(10, "trouble", s.name, id) < s.trouble {
		return []ending{refuses, loses, breaksDown}[p.chance(3, "which", s.name, id)]
	}
	return confirms
}

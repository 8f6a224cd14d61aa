package engine_test

import (
	"fmt"
	"slices"

	"github.com/pipeamqp/pipe/engine"
)

// fate is what must come of one attempt at a delivery: what is sent where, and whether it fails.
type fate struct {
	sent   []arrival
	failed bool
	passes bool // waiting mends the failure
	quiet  bool // some outcome never comes

	done     map[string]bool // the sinks that have confirmed all in earlier attempts
	direct   map[string]bool // the sinks that were sent to, and not only sent on to
	failedAt map[string]bool // the sinks that have failed in this one, for themselves or on the way from them
}

// arrival is one message at a sink, of one delivery.
type arrival struct {
	sink string
	id   identity
}

// sentOn is an arrival on its way, and the sink that it was sent to first.
type sentOn struct {
	arrival
	origin string
}

// reference follows one attempt through the plan, as slowly and plainly as possible. It shares no code with the engine.
func (p *plan) reference(a attempt) fate {
	f := fate{done: map[string]bool{}, failedAt: map[string]bool{}}
	if a.try > 1 {
		before := p.reference(attempt{a.root, a.delivery, a.try - 1})
		f.done = before.done
		for _, s := range before.sent {
			if before.direct[s.sink] && !before.failedAt[s.sink] {
				f.done[s.sink] = true
			}
		}
	}
	if !p.chain(&f, 0, 0, identity{attempt: a}, nil) {
		return fate{failed: true, done: f.done} // nothing of it is sent
	}
	f.direct = map[string]bool{}
	var on []sentOn
	for _, a := range f.sent {
		f.direct[a.sink] = true
		on = append(on, sentOn{a, a.sink})
	}
	for i := 0; i < len(on); i++ { // grows by what is sent on
		if next := p.end(&f, on[i]); next != "" {
			onward := sentOn{arrival{next, on[i].id}, on[i].origin}
			on = append(on, onward)
			f.sent = append(f.sent, onward.arrival)
		}
	}
	return f
}

// chain takes a message from a stage on. It returns false when that fails the delivery.
func (p *plan) chain(f *fate, pipeline, stage int, id identity, targets []engine.Target) bool {
	pl := &p.pipelines[pipeline]
	if stage == len(pl.stages) {
		return p.arrive(f, pipeline, id, targets, false)
	}
	s := &pl.stages[stage]
	next := func(id identity, targets []engine.Target) bool {
		return p.chain(f, pipeline, stage+1, id, targets)
	}
	switch p.condition(s.troubleOptions, s.name, id) {
	case skips:
		return next(id, targets)
	case cannotTell:
		return p.stageFails(f, pipeline, stage, id, targets)
	}
	through := id
	through.trail += "/" + s.name
	switch p.doing(s, id) {
	case drops:
		return true
	case splits:
		for k := range 3 {
			part := through
			part.trail += fmt.Sprint("#", k)
			if !next(part, targets) {
				return false
			}
		}
		return true
	case sends:
		return next(through, p.target(s, id))
	case fails, failsForGood, panics, emitsAndFails:
		return p.stageFails(f, pipeline, stage, id, targets)
	default:
		return next(through, targets)
	}
}

func (p *plan) stageFails(f *fate, pipeline, stage int, id identity, targets []engine.Target) bool {
	s := &p.pipelines[pipeline].stages[stage]
	switch s.onError {
	case engine.OnErrorContinue:
		return p.chain(f, pipeline, stage+1, id, targets)
	case engine.OnErrorDrop:
		return true
	case engine.OnErrorSend:
		to := engine.Target{Name: p.pipelines[pipeline].sinks[s.errorTo].name}
		return p.arrive(f, pipeline, id, []engine.Target{to}, true)
	}
	return false
}

// arrive takes a message at the end of a pipeline to those who take it.
func (p *plan) arrive(f *fate, pipeline int, id identity, targets []engine.Target, failed bool) bool {
	pl := &p.pipelines[pipeline]
	taken := false
	var branches []int
	var offered []int
	if !failed {
		for k := range pl.sinks {
			if !pl.sinks[k].named {
				offered = append(offered, k)
			}
		}
	}
	for _, t := range targets {
		if t.Branch {
			branches = append(branches, slices.IndexFunc(p.pipelines, func(b planned) bool { return b.name == t.Name }))
			taken = true
			continue
		}
		offered = append(offered, slices.IndexFunc(pl.sinks, func(s plannedSink) bool { return s.name == t.Name }))
	}
	for _, k := range offered {
		s := &pl.sinks[k]
		switch p.condition(s.troubleOptions, s.name, id) {
		case applies:
			f.send(s.name, id)
			taken = true
		case cannotTell:
			switch s.onError {
			case engine.OnErrorFail:
				return false
			case engine.OnErrorSend:
				f.send(pl.sinks[s.errorTo].name, id)
			}
			taken = true
		}
	}
	for _, b := range branches {
		if !p.chain(f, b, 0, id, nil) {
			return false
		}
	}
	return taken || pl.dropUnmatched
}

func (f *fate) send(sink string, id identity) {
	if !f.done[sink] {
		f.sent = append(f.sent, arrival{sink, id})
	}
}

// end adds what comes of a message at a sink, and returns where it goes on to.
func (p *plan) end(f *fate, a sentOn) (next string) {
	pl, s := p.sink(a.sink)
	how := p.ending(s, a.id)
	switch {
	case how == confirms:
	case how == keepsQuiet:
		f.quiet = true
	case s.onError == engine.OnErrorFail:
		f.passes = how == loses && (f.passes || !f.failed)
		f.failed = true
		f.failedAt[a.origin] = true
	case s.onError == engine.OnErrorSend:
		return pl.sinks[s.errorTo].name
	}
	return ""
}

func (p *plan) sink(name string) (*planned, *plannedSink) {
	for i := range p.pipelines {
		pl := &p.pipelines[i]
		for k := range pl.sinks {
			if pl.sinks[k].name == name {
				return pl, &pl.sinks[k]
			}
		}
	}
	panic("no sink " + name)
}

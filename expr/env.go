package expr

import (
	"sync"
	"unsafe"

	"github.com/pipeamqp/pipe/engine"
)

// What one evaluation may do, so that no message can make an expression fill the memory or run for
// long: a loop in a loop, or one that looks through all of the body in every turn, is the square of
// what it is given.
const (
	maxOutput   = 64 << 20 // bytes that it produces
	elementCost = 64       // of an element that is produced, and of a turn of a for
	maxElements = maxOutput / elementCost

	maxReading     = 64 << 20 // bytes that it looks through …
	bodyReadings   = 16       // … after it has looked through this many bodies
	openingCost    = 4        // of a byte of a list or object that is looked into
	comparisonCost = 4        // of an element that is looked for
	elementWork    = 16       // of an element that is worked on: added, looked up in a set
	matchingCost   = 8        // of a byte that a regular expression is held against
)

const (
	tooLarge = "the result is too large: an expression may produce 64 MiB"
	tooMuch  = "too much work: the same values are looked through again and again"
)

// eval is a compiled expression.
type eval func(*env) (value, *Error)

// test is a compiled condition, which answers without making a value.
type test func(*env) (bool, *Error)

// program is a compiled expression with what its conversions need to know.
type program struct {
	eval  eval
	test  test
	json  func(*env) *Error // as of a node
	place place
}

// unset stands for an expression that is not there.
var unset = program{
	eval: func(*env) (value, *Error) { return value{}, errUnset },
	test: func(*env) (bool, *Error) { return false, errUnset },
}

var errUnset = &Error{what: "there is no expression"}

// orUnset lets the zero values of Bool, String and Value be evaluated: that is an error.
func (p *program) orUnset() *program {
	if p == nil {
		return &unset
	}
	return p
}

// env is what one evaluation works with: the message, the variables of for and splat, and scratch
// memory. They are pooled, because a closure's argument would be allocated every time.
type env struct {
	message *engine.Message
	locals  []value
	args    []value
	fields  []field // what loops read of their elements
	changes []change
	splices []splice
	text    []byte
	spent   int
	read    int
	opened  [2]opened
	turn    int   // which of opened is replaced next
	seen    *view // the body as JSON, once it has been read
	made    *view // the same, if this evaluation made it, so that nobody else has it yet
}

// opened is a list or object from a body that was looked into. In a loop it is likely to be the same
// again in the next turn.
type opened struct {
	text string
	*composite
}

var envs = sync.Pool{New: func() any { return new(env) }}

func enter(m *engine.Message) *env {
	e := envs.Get().(*env)
	e.message = m
	e.spent, e.read = 0, -bodyReadings*len(m.Body)
	return e
}

// leave gives the env back without anything that belongs to the message. It runs after a panic too.
func (e *env) leave() {
	e.message, e.seen, e.made = nil, nil, nil
	if e.opened[0].composite != nil || e.opened[1].composite != nil {
		e.opened = [2]opened{}
	}
	clear(e.locals)
	clear(e.args[:cap(e.args)]) // calls have shortened it
	clear(e.fields)
	clear(e.changes)
	e.locals, e.args, e.fields, e.changes, e.text = e.locals[:0], e.args[:0], e.fields[:0], e.changes[:0], e.text[:0]
	e.splices = e.splices[:0] // which hold nothing of the message
	if cap(e.locals)+cap(e.args)+cap(e.fields)+cap(e.changes)+cap(e.splices) > 256 || cap(e.text) > 64<<10 {
		return
	}
	envs.Put(e)
}

// spend counts what is about to be produced.
func (e *env) spend(bytes int, at *place) *Error {
	e.spent += bytes
	if e.spent > maxOutput || bytes < 0 {
		return at.fail(tooLarge, missing)
	}
	return nil
}

// look counts what is about to be looked through.
func (e *env) look(bytes int, at *place) *Error {
	e.read += bytes
	if e.read > maxReading {
		return at.fail(tooMuch, missing)
	}
	return nil
}

// open returns what a list or object holds, one level deep.
func (e *env) open(v value, at *place) (*composite, *Error) {
	if v.ref != nil {
		return v.ref, nil
	}
	for _, o := range e.opened {
		if len(o.text) == len(v.str) && unsafe.StringData(o.text) == unsafe.StringData(v.str) {
			return o.composite, nil
		}
	}
	if err := e.look(openingCost*len(v.str), at); err != nil {
		return nil, err
	}
	c := v.open()
	if len(c.items) > maxElements {
		return nil, at.fail("%t of more than a million elements", v)
	}
	e.opened[e.turn] = opened{v.str, c}
	e.turn = (e.turn + 1) % len(e.opened)
	return c, nil
}

// step returns what a step from v leads to, or missing.
func (e *env) step(v value, s step, at *place) (value, *Error) {
	if v.isRaw() {
		if err := e.look(len(v.str), at); err != nil {
			return value{}, err
		}
	}
	return v.step(s), nil
}

// makeString makes a string of scratch text from a position on, and gives the scratch back.
func (e *env) makeString(from int, at *place) (value, *Error) {
	if err := e.spend(len(e.text)-from, at); err != nil {
		return value{}, err
	}
	s := e.keep(e.text[from:])
	e.text = e.text[:from]
	return stringValue(s), nil
}

// keep makes a string of a text. Where this evaluation has scanned the body, and the text is short,
// what the scan allocated has room for it.
func (e *env) keep(text []byte) string {
	v := e.made
	if v == nil || len(text) > len(v.room)-int(v.used) {
		return string(text)
	}
	room := v.room[v.used:][:len(text)]
	copy(room, text)
	v.used += uint8(len(text))
	return alias(room)
}

// view is a message's body as JSON: checked, with the places of the values that a scope's expressions
// refer to. It is not changed while clones of a message share it.
type view struct {
	body  []byte
	paths *pathSet
	err   *syntaxError
	spans []span
	few   [11]span
	room  [58]byte // for the strings that the evaluation makes
	used  uint8

	doubled bool // a key on the way to a place comes twice
}

func newView(body []byte, paths *pathSet) *view {
	v := &view{body: body, paths: paths}
	if paths.slots <= len(v.few) {
		v.spans = v.few[:paths.slots]
	} else {
		v.spans = make([]span, paths.slots)
	}
	return v
}

// view returns the message's body as JSON.
func (e *env) view(paths *pathSet) *view {
	if e.seen == nil || e.seen.paths != paths {
		e.seen = e.scan(paths)
	}
	return e.seen
}

// scan scans the body, unless another expression of the scope has done so.
func (e *env) scan(paths *pathSet) *view {
	if v, ok := e.message.Decoded().(*view); ok && v.paths == paths && len(v.spans) == paths.slots {
		return v
	}
	v := newView(e.message.Body, paths)
	s := scanner{src: v.body, spans: v.spans}
	v.err = s.scan(&paths.root)
	v.doubled = s.doubled
	e.message.SetDecoded(v)
	e.made = v
	return v
}

// value returns what is at a slot, or missing.
func (v *view) value(slot int) value {
	s := &v.spans[slot]
	switch {
	case s.kind == kindMissing:
		return missing
	case s.kind == kindString && !s.escaped:
		return stringValue(alias(v.body[s.start+1 : s.end-1]))
	}
	return rawValue(alias(v.body[s.start:s.end]))
}

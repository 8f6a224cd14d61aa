package expr

import (
	"sync"

	"github.com/pipeamqp/pipe/engine"
)

// maxOutput is how many bytes one evaluation may produce. An element of a list and a turn of a for
// count as elementCost, so that no expression can fill the memory or run for ever.
const (
	maxOutput   = 64 << 20
	elementCost = 64
)

// eval is a compiled expression.
type eval func(*env) (value, *Error)

// program is a compiled expression with what its conversions need to know.
type program struct {
	eval  eval
	place place
}

// unset stands for an expression that is not there.
var unset = program{eval: func(*env) (value, *Error) {
	return value{}, &Error{what: "there is no expression"}
}}

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
	text    []byte
	spent   int
}

var envs = sync.Pool{New: func() any { return new(env) }}

func enter(m *engine.Message) *env {
	e := envs.Get().(*env)
	e.message = m
	e.spent = 0
	return e
}

// leave gives the env back without anything that belongs to the message. It runs after a panic too.
func (e *env) leave() {
	e.message = nil
	clear(e.locals[:cap(e.locals)])
	clear(e.args[:cap(e.args)])
	e.locals, e.args, e.text = e.locals[:0], e.args[:0], e.text[:0]
	if cap(e.locals)+cap(e.args) > 256 || cap(e.text) > 64<<10 {
		return
	}
	envs.Put(e)
}

// spend counts what is about to be produced.
func (e *env) spend(bytes int, at *place) *Error {
	e.spent += bytes
	if e.spent > maxOutput || bytes < 0 {
		return at.fail("the result is too large: an expression may produce 64 MiB", missing)
	}
	return nil
}

// makeString makes a string of scratch text from a position on, and gives the scratch back.
func (e *env) makeString(from int, at *place) (value, *Error) {
	if err := e.spend(len(e.text)-from, at); err != nil {
		return value{}, err
	}
	s := string(e.text[from:])
	e.text = e.text[:from]
	return stringValue(s), nil
}

// view is a message's body as JSON: checked, with the places of the values that a scope's expressions
// refer to. It is not changed once made; clones of a message share it.
type view struct {
	body  []byte
	paths *pathSet
	err   *syntaxError
	spans []span
	few   [8]span
}

// view returns the message's body as JSON; it scans the body once.
func (e *env) view(paths *pathSet) *view {
	if v, ok := e.message.Decoded().(*view); ok && v.paths == paths && len(v.spans) == paths.slots {
		return v
	}
	v := &view{body: e.message.Body, paths: paths}
	if paths.slots <= len(v.few) {
		v.spans = v.few[:paths.slots]
	} else {
		v.spans = make([]span, paths.slots)
	}
	s := scanner{src: v.body, spans: v.spans}
	v.err = s.scan(&paths.root)
	e.message.SetDecoded(v)
	return v
}

// value returns what is at a slot, or missing.
func (v *view) value(slot int) value {
	s := v.spans[slot]
	text := alias(v.body[s.start:s.end])
	switch s.kind {
	case kindMissing:
		return missing
	case kindString:
		return stringValue(unquote(text))
	case kindList, kindObject:
		return value{kind: s.kind, str: text}
	}
	return rawValue(text)
}

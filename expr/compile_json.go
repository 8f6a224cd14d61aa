package expr

import (
	"slices"
	"unsafe"
)

// Objects, lists and loops that end up as JSON are written as such at once: no value is made of them.

// toJSON compiles what appends a node's JSON to the scratch text.
func toJSON(n node) func(*env) *Error {
	if n.json != nil {
		return n.json
	}
	at := n.at
	if n.text != nil {
		return func(e *env) *Error { return e.quoted(n.text) }
	}
	return func(e *env) *Error {
		v, err := n.eval(e)
		if err == nil {
			e.text, err = appendJSON(e.text, v, at)
		}
		if err == nil {
			err = e.tooLong(at)
		}
		return err
	}
}

// quoted writes a text in quotes, with the escapes that it needs.
func (e *env) quoted(text func(*env) *Error) *Error {
	from := len(e.text)
	e.text = append(e.text, '"')
	if err := text(e); err != nil {
		return err
	}
	made := e.text[from+1:]
	if plainText(made, 0) == len(made) {
		e.text = append(e.text, '"')
		return nil
	}
	e.text = appendJSONString(e.text[:from], string(made))
	return nil
}

// objectJSON compiles an object whose keys are known and differ; nil for any other.
func objectJSON(keys, items []node, at *place) func(*env) *Error {
	starts, writers := make([]string, len(keys)), make([]func(*env) *Error, len(keys))
	var seen []string
	for i, key := range keys {
		if key.constant == nil || key.constant.kind != kindString || slices.Contains(seen, key.constant.str) {
			return nil
		}
		seen = append(seen, key.constant.str)
		starts[i] = string(append(appendJSONString([]byte{"{,"[min(i, 1)]}, key.constant.str), ':'))
		writers[i] = toJSON(items[i])
	}
	return func(e *env) *Error {
		if len(starts) == 0 {
			e.text = append(e.text, '{')
		}
		if err := e.spend(elementCost*len(starts), at); err != nil {
			return err
		}
		for i, write := range writers {
			e.text = append(e.text, starts[i]...)
			if err := write(e); err != nil {
				return err
			}
		}
		e.text = append(e.text, '}')
		return nil
	}
}

// tupleJSON compiles a list that is written out.
func tupleJSON(items []node, at *place) func(*env) *Error {
	writers := make([]func(*env) *Error, len(items))
	for i, item := range items {
		writers[i] = toJSON(item)
	}
	return func(e *env) *Error {
		if err := e.spend(elementCost*len(writers), at); err != nil {
			return err
		}
		e.text = append(e.text, '[')
		for i, write := range writers {
			if i > 0 {
				e.text = append(e.text, ',')
			}
			if err := write(e); err != nil {
				return err
			}
		}
		e.text = append(e.text, ']')
		return nil
	}
}

// listJSON writes the list that a loop makes.
func (l *loop) listJSON(e *env) *Error {
	from, err := l.source(e)
	if err != nil {
		return err
	}
	open := byte('[')
	err = l.each(e, from, func() *Error {
		e.text = append(e.text, open)
		open = ','
		return l.valueJSON(e)
	})
	if open == '[' {
		e.text = append(e.text, open)
	}
	e.text = append(e.text, ']')
	return err
}

// fieldSet is the fields that a loop's body reads of its variable. They are looked up together, in one
// pass over an element, and stay known until the next.
type fieldSet struct {
	element int // where in env.fields it says of which element they are
	keys    []string
	slots   []int // where in env.fields each is
}

// slot returns where a field is noted, which it makes if it is new.
func (c *compiler) slot(f *fieldSet, key string) int {
	if i := slices.Index(f.keys, key); i >= 0 {
		return f.slots[i]
	}
	f.keys, f.slots = append(f.keys, key), append(f.slots, c.newField())
	return f.slots[len(f.slots)-1]
}

func (c *compiler) newField() int {
	c.fields++
	return c.fields - 1
}

// field reads a field of a loop's variable.
func (f *fieldSet) field(e *env, v value, slot int, at *place) (value, *Error) {
	if len(e.fields) <= f.element || !sameText(e.fields[f.element].str, v.str) {
		if err := e.look(len(v.str), at); err != nil {
			return value{}, err
		}
		f.gather(e, v.str, 0)
		e.fields[f.element].str = v.str
	}
	if v := e.fields[slot]; v.kind != kindMissing || v.str == "" {
		return v, nil
	}
	e.fields[slot] = rawValue(e.fields[slot].str)
	return e.fields[slot], nil
}

func sameText(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// gather notes the texts of the fields of the object that begins at i, and returns where it ends.
func (f *fieldSet) gather(e *env, s string, i int) int {
	for len(e.fields) <= max(f.element, slices.Max(f.slots)) {
		e.fields = append(e.fields, value{})
	}
	for _, slot := range f.slots {
		e.fields[slot] = missing
	}
	i = skipSpace(s, i+1)
	for s[i] == '"' {
		keyEnd := skipString(s, i)
		key := s[i+1 : keyEnd-1]
		start := skipSpace(s, skipSpace(s, keyEnd)+1)
		end := skipValue(s, start)
		escaped := hasEscape(key)
		for j, wanted := range f.keys {
			if sameKey(key, wanted, escaped) {
				e.fields[f.slots[j]] = value{str: s[start:end]}
				break
			}
		}
		if i = skipSpace(s, end); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
	return i + 1
}

// stream calls turn for every element of a list that is still text, whose fields it notes on the way.
func (l *loop) stream(e *env, text string, turn func(i int, item value) *Error) *Error {
	if err := e.look(openingCost*len(text), l.from); err != nil {
		return err
	}
	i := skipSpace(text, 1)
	for n := 0; text[i] != ']'; n++ {
		if n >= maxElements {
			return l.from.fail("%t of more than a million elements", value{kind: kindList})
		}
		end := 0
		if text[i] == '{' {
			end = l.fields.gather(e, text, i)
			e.fields[l.fields.element].str = text[i:end]
		} else {
			end = skipValue(text, i)
		}
		if err := turn(n, rawValue(text[i:end])); err != nil {
			return err
		}
		if i = skipSpace(text, end); text[i] == ',' {
			i = skipSpace(text, i+1)
		}
	}
	return nil
}

package expr

import "slices"

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

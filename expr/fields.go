package expr

import (
	"slices"
	"unsafe"

	"github.com/hashicorp/hcl/v2"
)

// fieldSet is the fields that a loop's body reads of its variable. They are looked up together, in one
// pass over an element, and stay known until the next.
type fieldSet struct {
	local   int // the variable
	element int // where in env.fields it says of which element they are
	keys    []string
	slots   []int // where in env.fields each is
}

// field is what an element has at a key.
type field struct {
	text    string // as it is written; empty: it has no such key
	escaped bool   // it is a string with escapes
	value   value  // once it has been read
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

// elementField compiles a step from a loop's variable.
func (c *compiler) elementField(n node, s step, r hcl.Range, path string) node {
	fields, slot, at := n.fields, c.slot(n.fields, s.key), n.at
	result := relative(n, s, r, path, func(e *env, v value) (value, *Error) {
		if v.kind != kindObject || !v.isRaw() {
			return e.step(v, s, at)
		}
		found, err := fields.field(e, slot, at)
		if err != nil || found.text == "" {
			return missing, err
		}
		return found.read(), nil
	})
	general := result.eval
	result.eval = func(e *env) (value, *Error) {
		if found := fields.known(e, slot); found != nil {
			return found.read(), nil
		}
		return general(e)
	}
	result.number = func(e *env) (num, bool) {
		if found := fields.known(e, slot); found != nil {
			return shortNumber(found.text)
		}
		return num{}, false
	}
	result.json = func(e *env) *Error {
		if found := fields.known(e, slot); found != nil && !found.escaped {
			e.text = append(e.text, found.text...)
			return e.tooLong(result.at)
		}
		v, err := general(e)
		if err == nil {
			e.text, err = appendJSON(e.text, v, result.at)
		}
		return err
	}
	return result
}

// known returns a field of the variable's present value, if the element has been looked through and has it.
func (f *fieldSet) known(e *env, slot int) *field {
	if slot < len(e.fields) && f.element < len(e.fields) && sameText(e.fields[f.element].text, e.locals[f.local].str) {
		if found := &e.fields[slot]; found.text != "" {
			return found
		}
	}
	return nil
}

// field returns a field of the variable's present value, an object that is still text.
func (f *fieldSet) field(e *env, slot int, at *place) (*field, *Error) {
	text := e.locals[f.local].str
	f.makeRoom(e)
	if !sameText(e.fields[f.element].text, text) {
		if err := e.look(len(text), at); err != nil {
			return nil, err
		}
		f.gather(e, text, 0)
	}
	return &e.fields[slot], nil
}

// read makes the field's value, once.
func (f *field) read() value {
	if f.value.kind != kindMissing {
		return f.value
	}
	if f.text[0] == '"' && !f.escaped {
		f.value = stringValue(f.text[1 : len(f.text)-1])
		return stringValue(f.text[1 : len(f.text)-1])
	}
	v := rawValue(f.text)
	f.value = v
	return v
}

func sameText(a, b string) bool {
	return unsafe.StringData(a) == unsafe.StringData(b) && len(a) == len(b)
}

func (f *fieldSet) makeRoom(e *env) {
	for last := max(f.element, slices.Max(f.slots)); len(e.fields) <= last; {
		e.fields = append(e.fields, field{})
	}
}

// gather notes the fields of the object that begins at i, and returns where it ends.
func (f *fieldSet) gather(e *env, s string, i int) int {
	for _, slot := range f.slots {
		e.fields[slot].text = ""
	}
	start := i
	i = skipSpace(s, i+1)
	for s[i] == '"' {
		end, escaped := skipNoting(s, i)
		slot := f.find(s[i+1:end-1], escaped)
		i = skipSpace(s, skipSpace(s, end)+1)
		end, escaped = skipNoting(s, i)
		if slot >= 0 {
			found := &e.fields[slot]
			found.text, found.escaped, found.value.kind = s[i:end], escaped, kindMissing
		}
		if i = skipSpace(s, end); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
	e.fields[f.element].text = s[start : i+1]
	return i + 1
}

// find returns where the field of a key, as it is written, is noted, or -1 if nobody reads it.
func (f *fieldSet) find(key string, escaped bool) int {
	if escaped {
		key = unescape(key)
	}
	for i, wanted := range f.keys {
		if key == wanted {
			return f.slots[i]
		}
	}
	return -1
}

// skipNoting returns where the value that begins at i ends, and whether it is a string with escapes.
func skipNoting(s string, i int) (end int, escaped bool) {
	if s[i] != '"' {
		return skipValue(s, i), false
	}
	end, found := shortText(unalias(s), i+1)
	if !found {
		end = plainText(unalias(s), i+1)
	}
	if s[end] == '"' {
		return end + 1, false
	}
	return skipString(s, i), true
}

// stream calls f for the elements of a list that is still text, whose fields it notes on the way.
func (l *loop) stream(e *env, text string, f func() *Error) *Error {
	if err := e.look(openingCost*len(text), l.from); err != nil {
		return err
	}
	l.fields.makeRoom(e)
	i := skipSpace(text, 1)
	for n := 0; text[i] != ']'; n++ {
		if n >= maxElements {
			return l.from.fail("%t of more than a million elements", value{kind: kindList})
		}
		end := 0
		item := value{kind: kindObject}
		if text[i] == '{' {
			end = l.fields.gather(e, text, i)
			item.str = text[i:end]
		} else {
			end = skipValue(text, i)
			item = rawValue(text[i:end])
		}
		if err := l.turn(e, intValue(int64(n)), item, f); err != nil {
			return err
		}
		if i = skipSpace(text, end); text[i] == ',' {
			i = skipSpace(text, i+1)
		}
	}
	return nil
}

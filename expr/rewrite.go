package expr

// rewriter copies JSON and changes what an edit says. It works on text that a scanner has checked.
type rewriter struct {
	src    string
	out    []byte
	copied int // how much of src is in out, or left out on purpose
	values []value
	set    []assignment
}

// rewrite returns the changed text, or nil if nothing changes.
func (w *rewriter) rewrite(n *editNode) ([]byte, *Error) {
	if n.set >= 0 {
		err := w.given(n)
		return w.out, err
	}
	if _, err := w.value(skipSpace(w.src, 0), n); err != nil {
		return nil, err
	}
	if w.out == nil {
		return nil, nil
	}
	w.flush(len(w.src))
	return w.out, nil
}

// room is how long the result is likely to be at most.
func (w *rewriter) room() int {
	n := len(w.src) + 8
	for i := range w.set {
		steps := w.set[i].target.body
		for _, s := range steps {
			n += len(s.key) + 6
		}
		switch v := &w.values[i]; {
		case len(steps) == 0:
		case v.ref != nil:
			n += 128
		default:
			n += max(len(v.str)+4, 36)
		}
	}
	return n
}

// flush copies up to a position.
func (w *rewriter) flush(to int) {
	if w.out == nil {
		w.out = make([]byte, 0, w.room())
	}
	if to > w.copied {
		w.out = append(w.out, w.src[w.copied:to]...)
		w.copied = to
	}
}

// cut leaves out what is between two positions.
func (w *rewriter) cut(from, to int) {
	w.flush(from)
	w.copied = max(w.copied, to)
}

// value changes the value that begins at i and returns where it ends in the source.
func (w *rewriter) value(i int, n *editNode) (int, *Error) {
	switch {
	case n.set >= 0:
		end := skipValue(w.src, i)
		w.cut(i, end)
		return end, w.given(n)
	case w.src[i] == '{':
		return w.object(i, n)
	case w.src[i] == '[':
		return w.list(i, n)
	}
	end := skipValue(w.src, i)
	switch {
	case !n.sets:
		return end, nil
	case w.src[i] == 'n':
		w.cut(i, end)
		return end, w.fresh(n)
	}
	return end, n.place.fail("not an object but %t", rawValue(w.src[i:end]))
}

// given writes what a node is assigned, without what is to be removed from that again.
func (w *rewriter) given(n *editNode) *Error {
	at := w.set[n.set].target.at
	if len(n.children) == 0 {
		var err *Error
		w.out, err = appendJSON(w.out, w.values[n.set], at)
		return err
	}
	text, err := appendJSON(nil, w.values[n.set], at)
	if err != nil {
		return err
	}
	inner := &rewriter{src: alias(text), values: w.values, set: w.set}
	rest := *n
	rest.set, rest.sets = -1, false
	changed, err := inner.rewrite(&rest)
	if changed == nil {
		changed = text
	}
	w.out = append(w.out, changed...)
	return err
}

// fresh writes an object that was absent.
func (w *rewriter) fresh(n *editNode) *Error {
	w.out = append(w.out, '{')
	if err := w.missing(n, nil, false); err != nil {
		return err
	}
	w.out = append(w.out, '}')
	return nil
}

// missing writes the members of an object that are assigned and have not been seen. An index makes no
// object where there was none.
func (w *rewriter) missing(n *editNode, seen []bool, comma bool) *Error {
	for i, child := range n.children {
		if !child.sets || seen != nil && seen[i] {
			continue
		}
		if child.index >= 0 && seen == nil {
			return child.place.fail("the list has no such element", missing)
		}
		if comma {
			w.out = append(w.out, ',')
		}
		comma = true
		w.out = append(appendJSONString(w.out, child.key), ':')
		write := w.fresh
		if child.set >= 0 {
			write = w.given
		}
		if err := write(child); err != nil {
			return err
		}
	}
	return nil
}

// members is where a list or object is while its members pass.
type members struct {
	separator int  // the opening bracket, or the comma before the member
	removed   int  // the separator before the first of the members that are being left out, or -1
	kept      bool // a member has been kept
	end       int  // of the last member, or where the first would begin
}

// keep says that the member after the separator stays.
func (w *rewriter) keep(m *members) {
	if m.removed >= 0 {
		w.cut(m.removed+1, m.separator+1)
		m.removed = -1
	}
	m.kept = true
}

// remove says that the member after the separator goes.
func (m *members) remove() {
	if m.removed < 0 {
		m.removed = m.separator
	}
}

// finish leaves out the members that are last.
func (w *rewriter) finish(m *members) {
	switch {
	case m.removed < 0:
	case m.kept:
		w.cut(m.removed, m.end)
	default:
		w.cut(m.removed+1, m.end)
	}
}

// member changes or leaves out one member, whose value begins at start.
func (w *rewriter) member(m *members, child *editNode, start int) (err *Error) {
	switch {
	case child == nil:
		w.keep(m)
		m.end = skipValue(w.src, start)
	case child.remove:
		m.remove()
		m.end = skipValue(w.src, start)
	default:
		w.keep(m)
		m.end, err = w.value(start, child)
	}
	return err
}

func (w *rewriter) object(i int, n *editNode) (int, *Error) {
	var few [16]bool
	seen := few[:min(len(n.children), len(few))]
	if len(n.children) > len(few) {
		seen = make([]bool, len(n.children))
	}
	m := members{separator: i, removed: -1, end: i + 1}
	i = skipSpace(w.src, i+1)
	for w.src[i] == '"' {
		keyEnd := skipString(w.src, i)
		start := skipSpace(w.src, skipSpace(w.src, keyEnd)+1)
		child := n.forKey(w.src[i+1:keyEnd-1], seen)
		if err := w.member(&m, child, start); err != nil {
			return 0, err
		}
		if i = skipSpace(w.src, m.end); w.src[i] == ',' {
			m.separator = i
			i = skipSpace(w.src, i+1)
		}
	}
	w.finish(&m)
	return i + 1, w.add(n, seen, &m)
}

// add writes the members that an object is given and does not have.
func (w *rewriter) add(n *editNode, seen []bool, m *members) *Error {
	for i, child := range n.children {
		if child.sets && !seen[i] {
			w.flush(m.end)
			return w.missing(n, seen, m.kept)
		}
	}
	return nil
}

func (w *rewriter) list(i int, n *editNode) (int, *Error) {
	m := members{separator: i, removed: -1, end: i + 1}
	i = skipSpace(w.src, i+1)
	length := 0
	for ; w.src[i] != ']'; length++ {
		if err := w.member(&m, n.forIndex(length), i); err != nil {
			return 0, err
		}
		if i = skipSpace(w.src, m.end); w.src[i] == ',' {
			m.separator = i
			i = skipSpace(w.src, i+1)
		}
	}
	w.finish(&m)
	for _, child := range n.children {
		switch {
		case !child.sets:
		case child.index < 0:
			return 0, n.place.fail("not an object but a list", missing)
		case child.index >= length:
			return 0, child.place.fail("the list has no such element", missing)
		}
	}
	return i + 1, nil
}

func (n *editNode) forKey(raw string, seen []bool) *editNode {
	escaped := hasEscape(raw)
	for i, c := range n.children {
		if sameKey(raw, c.key, escaped) {
			seen[i] = true
			return c
		}
	}
	return nil
}

func (n *editNode) forIndex(index int) *editNode {
	for _, c := range n.children {
		if c.index == index {
			return c
		}
	}
	return nil
}

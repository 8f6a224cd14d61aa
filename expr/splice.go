package expr

import "slices"

// splice is one change of a body whose places a scan has noted: what an edit's node says stands instead of the old bytes from start to
// end, or, with add, the members that an object does not have come after its last one.
type splice struct {
	n          *editNode
	add        bool
	comma      bool // before what is added
	start, end int  // in the old body
	from, to   int  // in the new one
}

// splice changes the body without reading it again, which takes that the scan has found every object that something is written into.
// It reports false where that is not so: the rewriter then does it, or says why it cannot be done.
func (x *Edit) splice(e *env, w *rewriter, v *view) (done bool, err *Error) {
	if x.removes || v.doubled || !v.splices(e, x.body) {
		return false, nil
	}
	list := e.splices
	slices.SortFunc(list, func(a, b splice) int { return a.start - b.start })
	for i := range list {
		s := &list[i]
		w.cut(s.start, s.end)
		s.from = len(w.out)
		switch {
		case s.add:
			var few [16]bool
			err = w.missing(s.n, v.present(s.n, few[:0]), s.comma)
		case s.n.set >= 0:
			err = w.given(s.n)
		default:
			err = w.fresh(s.n)
		}
		if err != nil {
			return false, err
		}
		s.to = len(w.out)
	}
	w.flush(len(w.src))
	c := change{body: w.out}
	if x.scope.reads > x.readsBefore {
		c.view = v.after(e, w.out, list)
	}
	e.changes = append(e.changes, c)
	return true, nil
}

// splices notes what changes below a node, or reports false.
func (v *view) splices(e *env, n *editNode) bool {
	s := &v.spans[n.path.slot]
	if n.set >= 0 || s.kind == kindNull {
		e.splices = append(e.splices, splice{n: n, start: int(s.start), end: int(s.end)})
		return true
	}
	if s.kind != kindObject && s.kind != kindList {
		return false
	}
	absent := false
	for _, c := range n.children {
		if v.spans[c.path.slot].kind == kindMissing {
			absent = true
		} else if !v.splices(e, c) {
			return false
		}
	}
	if absent && s.kind == kindObject {
		end := int(s.end) - 1
		for v.body[end-1] <= ' ' {
			end--
		}
		e.splices = append(e.splices, splice{n: n, add: true, comma: v.body[end-1] != '{', start: end, end: end})
	}
	return !absent || s.kind == kindObject
}

// present says which of a node's children are in the body.
func (v *view) present(n *editNode, seen []bool) []bool {
	for _, c := range n.children {
		seen = append(seen, v.spans[c.path.slot].kind != kindMissing)
	}
	return seen
}

// after is the view of the body that the splices made: what they wrote is scanned, all else has only moved. It is nil where the new body
// is nested too deeply. It is v itself where no clone of the message has that.
func (v *view) after(e *env, body []byte, list []splice) *view {
	next, _ := e.message.TakeDecoded().(*view)
	if next == v {
		next.body = body
	} else {
		next = newView(body, v.paths)
	}
	for i := range v.spans {
		if s := v.spans[i]; s.kind != kindMissing {
			s.start, s.end = moved(s.start, list), moved(s.end, list)
			next.spans[i] = s
		}
	}
	s := scanner{src: body, spans: next.spans}
	for i := range list {
		l, end := &list[i], 0
		switch {
		case !l.add:
			s.forget(l.n.path)
			end = s.value(l.from, l.n.path, l.n.depth)
		case l.comma:
			end = s.object(l.from+1, l.n.path, l.n.depth+1)
		default:
			end = s.object(l.from, l.n.path, l.n.depth+1)
		}
		if end < 0 {
			return nil
		}
	}
	next.doubled = s.doubled
	return next
}

// moved is where a position of the old body is in the new one.
func moved(at uint32, list []splice) uint32 {
	by := 0
	for i := range list {
		if s := &list[i]; s.start < int(at) {
			by += s.to - s.from - (s.end - s.start)
		}
	}
	return at + uint32(by)
}

package expr

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// maxDepth is how deep lists and objects in a body may be nested.
const maxDepth = 1000

// pathNode is a step of the body paths that expressions refer to. The root stands for the body.
type pathNode struct {
	key      string
	index    int // the same step into a list, or -1
	slot     int
	children []*pathNode
}

// pathSet is every body path of a scope, as a tree. Each node has a slot.
type pathSet struct {
	root  pathNode
	slots int
}

// step is one step of a path: into an object by its key, into a list by its index.
type step struct {
	key   string
	index int // -1: no list has it
}

// add returns the node of a path, which it makes if it is new.
func (p *pathSet) add(path []step) *pathNode {
	p.slots = max(p.slots, 1)
	n := &p.root
	for _, s := range path {
		n = p.child(n, s)
	}
	return n
}

func (p *pathSet) child(n *pathNode, s step) *pathNode {
	for _, c := range n.children {
		if c.key == s.key && c.index == s.index {
			return c
		}
	}
	c := &pathNode{key: s.key, index: s.index, slot: p.slots}
	p.slots++
	n.children = append(n.children, c)
	return c
}

// span is where the value of a path is in a body. Its kind is kindInt for every number. escaped says that
// it is a string with escapes.
type span struct {
	start, end uint32
	kind       kind
	escaped    bool
}

// syntaxError says where a text is not JSON.
type syntaxError struct {
	offset int
	want   string
	got    int // the byte that is there, or -1 at the end
}

func (e *syntaxError) Error() string {
	switch {
	case e.got < 0:
		return fmt.Sprintf("it ends at byte %d, where %s is expected", e.offset, e.want)
	case e.got < ' ' || e.got >= 0x7f:
		return fmt.Sprintf("byte %d is 0x%02x, where %s is expected", e.offset, e.got, e.want)
	}
	return fmt.Sprintf("byte %d is %q, where %s is expected", e.offset, rune(e.got), e.want)
}

// scanner checks that a text is JSON (RFC 8259) and notes where the values of paths are. It allocates
// nothing unless a key has escapes or the text is not JSON. A key that comes twice counts with its
// last value. Bytes in strings that are not UTF-8 are left alone.
type scanner struct {
	src     []byte
	spans   []span
	err     *syntaxError
	escaped bool // a string with escapes has come since it was last set to false
	doubled bool // a key on the way to a place has come twice
}

// scan checks the whole text.
func (s *scanner) scan(root *pathNode) *syntaxError {
	end := s.value(s.space(0), root, 0)
	if end < 0 {
		return s.err
	}
	if end = s.space(end); end < len(s.src) {
		s.fail(end, "the end")
	}
	return s.err
}

// checkJSON says where a text is not JSON.
func checkJSON(text string) error {
	s := scanner{src: unalias(text)}
	if err := s.scan(nil); err != nil {
		return err
	}
	return nil
}

func (s *scanner) fail(i int, want string) int {
	if s.err == nil {
		got := -1
		if i < len(s.src) {
			got = int(s.src[i])
		}
		s.err = &syntaxError{offset: i, want: want, got: got}
	}
	return -1
}

// space returns the first position from i on that is not white space. Most often that is i, which callers find out first.
func (s *scanner) space(i int) int {
	for i < len(s.src) && (s.src[i] == ' ' || s.src[i] == '\n' || s.src[i] == '\t' || s.src[i] == '\r') {
		i++
	}
	return i
}

// at skips white space and reports whether c follows, and where.
func (s *scanner) at(i int, c byte) (int, bool) {
	if i < len(s.src) && s.src[i] <= ' ' {
		i = s.space(i)
	}
	return i, i < len(s.src) && s.src[i] == c
}

// value checks the value that begins at i and returns where it ends, or -1. n is nil where no path
// leads.
func (s *scanner) value(i int, n *pathNode, depth int) int {
	if n == nil {
		end, _ := s.any(i, nil, depth)
		return end
	}
	if s.spans[n.slot].kind != kindMissing {
		s.forget(n)
		s.doubled = true
	}
	s.escaped = false
	end, k := s.any(i, n, depth)
	if end >= 0 {
		s.spans[n.slot] = span{uint32(i), uint32(end), k, s.escaped}
	}
	return end
}

// any checks a value, and says of which kind it is.
func (s *scanner) any(i int, n *pathNode, depth int) (end int, k kind) {
	if i >= len(s.src) {
		return s.fail(i, "a value"), kindMissing
	}
	switch c := s.src[i]; {
	case c == '"':
		return s.text(i + 1), kindString
	case c == '-' || c-'0' <= 9:
		return s.number(i), kindInt
	case c == '{':
		return s.object(i+1, n, depth+1), kindObject
	case c == '[':
		return s.list(i+1, n, depth+1), kindList
	case c == 't':
		return s.word(i, "true"), kindBool
	case c == 'f':
		return s.word(i, "false"), kindBool
	case c == 'n':
		return s.word(i, "null"), kindNull
	}
	return s.fail(i, "a value"), kindMissing
}

// forget drops what was noted below a node.
func (s *scanner) forget(n *pathNode) {
	s.spans[n.slot] = span{}
	for _, c := range n.children {
		s.forget(c)
	}
}

func (s *scanner) word(i int, word string) int {
	for j := range len(word) {
		if i+j >= len(s.src) || s.src[i+j] != word[j] {
			return s.fail(i+j, word)
		}
	}
	return i + len(word)
}

// object checks what follows an opening brace.
func (s *scanner) object(i int, n *pathNode, depth int) int {
	if depth > maxDepth {
		return s.fail(i-1, "no deeper nesting (1000 levels at most)")
	}
	i, empty := s.at(i, '}')
	if empty {
		return i + 1
	}
	for {
		if i >= len(s.src) || s.src[i] != '"' {
			return s.fail(i, "a key in quotes")
		}
		key := i + 1
		if i = s.text(key); i < 0 {
			return -1
		}
		var child *pathNode
		if n != nil {
			child = n.forKey(s.src[key : i-1])
		}
		found := false
		if i, found = s.at(i, ':'); !found {
			return s.fail(i, "a colon")
		}
		if i++; i < len(s.src) && s.src[i] <= ' ' {
			i = s.space(i)
		}
		if child == nil && i < len(s.src) && s.src[i] == '"' {
			i = s.text(i + 1)
		} else {
			i = s.value(i, child, depth)
		}
		if i < 0 {
			return -1
		}
		if i, found = s.at(i, ','); !found {
			if i < len(s.src) && s.src[i] == '}' {
				return i + 1
			}
			return s.fail(i, "a comma or a closing brace")
		}
		if i++; i < len(s.src) && s.src[i] <= ' ' {
			i = s.space(i)
		}
	}
}

// list checks what follows an opening bracket.
func (s *scanner) list(i int, n *pathNode, depth int) int {
	if depth > maxDepth {
		return s.fail(i-1, "no deeper nesting (1000 levels at most)")
	}
	i, empty := s.at(i, ']')
	if empty {
		return i + 1
	}
	for index := 0; ; index++ {
		if i = s.value(i, n.forIndex(index), depth); i < 0 {
			return -1
		}
		found := false
		if i, found = s.at(i, ','); !found {
			if i < len(s.src) && s.src[i] == ']' {
				return i + 1
			}
			return s.fail(i, "a comma or a closing bracket")
		}
		if i++; i < len(s.src) && s.src[i] <= ' ' {
			i = s.space(i)
		}
	}
}

// forKey returns the child that a key, as it is written, leads to.
func (n *pathNode) forKey(raw []byte) *pathNode {
	if len(n.children) == 0 {
		return nil
	}
	escaped := hasEscape(alias(raw))
	for _, c := range n.children {
		if sameKey(alias(raw), c.key, escaped) {
			return c
		}
	}
	return nil
}

func (n *pathNode) forIndex(index int) *pathNode {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.index == index {
			return c
		}
	}
	return nil
}

// sameKey compares a key as it is written in JSON, without its quotes, with one of ours. escaped says
// that it has escapes.
func sameKey(raw, key string, escaped bool) bool {
	if escaped {
		return len(raw) > len(key) && unescape(raw) == key
	}
	return raw == key
}

// text checks what follows an opening quote and returns what follows the closing one.
func (s *scanner) text(i int) int {
	if end, found := shortText(s.src, i); found {
		return end + 1
	}
	for {
		i = plainText(s.src, i)
		if i >= len(s.src) {
			return s.fail(i, "a closing quote")
		}
		switch c := s.src[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			s.escaped = true
			if i = s.escape(i + 1); i < 0 {
				return -1
			}
		default:
			return s.fail(i, "a character of a string, not a control character,")
		}
	}
}

// plainText returns the first position from i on that needs a closer look: a quote, a backslash or
// a control character, or the end. It looks at eight bytes at a time: most texts are short.
func plainText(src []byte, i int) int {
	for long := i + 32; i+8 <= len(src); i += 8 {
		if i >= long {
			return longText(src, i)
		}
		if hit := special(binary.LittleEndian.Uint64(src[i:])); hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(src) && src[i] != '"' && src[i] != '\\' && src[i] >= ' ' {
		i++
	}
	return i
}

// longText is plainText for a text that has turned out to be long: to find a single byte the standard library takes a tenth of the time.
// It looks no further ahead than some hundred bytes, lest a text full of escapes be searched to its end after each of them.
func longText(src []byte, i int) int {
	for i < len(src) {
		piece := src[i:min(i+512, len(src))]
		size := len(piece)
		if quote := bytes.IndexByte(piece, '"'); quote >= 0 {
			piece = piece[:quote]
		}
		if slash := bytes.IndexByte(piece, '\\'); slash >= 0 {
			piece = piece[:slash]
		}
		plain := printable(piece)
		if i += plain; plain < size {
			break
		}
	}
	return i
}

// printable returns where in a text the first control character is, or its length.
func printable(text []byte) int {
	const spaces, highs = 0x2020202020202020, 0x8080808080808080
	i := 0
	for ; i+32 <= len(text); i += 32 { // a byte below a space gets its highest bit from the subtraction; those that had it are left out
		s := text[i : i+32]
		a, b := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
		c, d := binary.LittleEndian.Uint64(s[16:]), binary.LittleEndian.Uint64(s[24:])
		if ((a-spaces)&^a|(b-spaces)&^b|(c-spaces)&^c|(d-spaces)&^d)&highs != 0 {
			break
		}
	}
	for i < len(text) && text[i] >= ' ' {
		i++
	}
	return i
}

// shortText looks for the closing quote among the next eight bytes, where most often it is.
func shortText(src []byte, i int) (end int, found bool) {
	if i+8 > len(src) {
		return i, false
	}
	end = i + bits.TrailingZeros64(special(binary.LittleEndian.Uint64(src[i:])))/8
	return end, end < len(src) && src[end] == '"'
}

// special looks at eight characters. The lowest bit that is set is that of the first which is a quote, a
// backslash or a control character. An exclusive or with 2 makes the quote the one after the control
// characters, and leaves those below it.
func special(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash := (x^ones*2)-ones*('"'^2+1), (x^ones*'\\')-ones
	return (quote | slash) & ^x & highs
}

// escape checks what follows a backslash.
func (s *scanner) escape(i int) int {
	if i >= len(s.src) {
		return s.fail(i, "an escape")
	}
	switch s.src[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for end := i + 5; ; {
			if i++; i == end {
				return i
			}
			if i >= len(s.src) || !isHex(s.src[i]) {
				return s.fail(i, "a hexadecimal digit")
			}
		}
	}
	return s.fail(i, "an escape")
}

func isHex(c byte) bool { return c-'0' <= 9 || c|0x20-'a' <= 5 }

// number checks a number that begins at i.
func (s *scanner) number(i int) int {
	if s.src[i] == '-' {
		i++
	}
	if i < len(s.src) && s.src[i] == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return -1
	}
	if i < len(s.src) && s.src[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(s.src) && s.src[i]|0x20 == 'e' {
		i++
		if i < len(s.src) && (s.src[i] == '+' || s.src[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits checks one digit or more.
func (s *scanner) digits(i int) int {
	start := i
	for i < len(s.src) && s.src[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return s.fail(i, "a digit")
	}
	return i
}

package expr

import (
	"strings"
	"time"
	"unsafe"
)

// kind says what a value is.
type kind uint8

const (
	kindMissing kind = iota // a path that leads nowhere; never leaves has, get and coalesce
	kindNull
	kindBool
	kindInt
	kindFloat
	kindString
	kindBytes
	kindTime
	kindList
	kindObject
)

// String is the kind as errors name it, with its article.
func (k kind) String() string {
	return [...]string{
		"nothing", "null", "a bool", "a number", "a number", "a string", "bytes", "a timestamp", "a list", "an object",
	}[k]
}

// name is the kind alone.
func (k kind) name() string {
	name := k.String()
	return name[strings.IndexByte(name, ' ')+1:]
}

// value is any value that an expression can have. It is small, so that closures pass it in registers.
//
// A number that comes from a body keeps its literal in str. A list or object that comes from a body
// is its JSON text in str, with no ref, until somebody looks inside.
type value struct {
	kind  kind
	width width  // what an integer or float was in an AMQP table
	nsec  uint32 // of a timestamp
	num   uint64 // bool, int64, the bits of a float64, or a timestamp's Unix seconds
	str   string // text, bytes, a number's literal, or raw JSON
	ref   *composite
}

// composite is what a list or object holds. It is not changed once a value refers to it.
type composite struct {
	items []value
	keys  []string       // of an object, in the order of writing
	index map[string]int // of an object with many keys
	goes  any            // the Go value that it came from, if that is to survive
}

var (
	null    = value{kind: kindNull}
	missing = value{}
)

func boolValue(b bool) value {
	v := value{kind: kindBool}
	if b {
		v.num = 1
	}
	return v
}

func intValue(i int64) value     { return value{kind: kindInt, num: uint64(i)} }
func floatValue(f float64) value { return value{kind: kindFloat, num: floatBits(f)} }
func stringValue(s string) value { return value{kind: kindString, str: s} }
func listValue(l []value) value  { return value{kind: kindList, ref: &composite{items: l}} }
func bytesValue(b []byte) value  { return value{kind: kindBytes, str: alias(b)} }
func timeValue(t time.Time) value {
	return value{kind: kindTime, num: uint64(t.Unix()), nsec: uint32(t.Nanosecond())}
}

func (v value) int() int64      { return int64(v.num) }
func (v value) float() float64  { return floatFrom(v.num) }
func (v value) time() time.Time { return time.Unix(int64(v.num), int64(v.nsec)).UTC() }
func (v value) isNumber() bool  { return v.kind == kindInt || v.kind == kindFloat }
func (v value) isFinite() bool {
	return v.kind == kindInt || v.kind == kindFloat && isFinite(v.float())
}
func (v value) isRaw() bool { return v.ref == nil && v.kind >= kindList }

// alias views bytes that nobody writes as a string.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// fewKeys is how many keys an object has before it is given an index.
const fewKeys = 8

// objectBuilder makes an object; a key that comes again replaces the value before it.
type objectBuilder struct{ c composite }

func newObject(size int) *objectBuilder {
	return &objectBuilder{composite{keys: make([]string, 0, size), items: make([]value, 0, size)}}
}

func (b *objectBuilder) set(key string, v value) {
	if i, ok := b.c.find(key); ok {
		b.c.items[i] = v
		return
	}
	b.c.keys = append(b.c.keys, key)
	b.c.items = append(b.c.items, v)
	switch {
	case b.c.index != nil:
		b.c.index[key] = len(b.c.keys) - 1
	case len(b.c.keys) > fewKeys:
		b.c.index = make(map[string]int, 2*len(b.c.keys))
		for i, k := range b.c.keys {
			b.c.index[k] = i
		}
	}
}

func (b *objectBuilder) value() value { return value{kind: kindObject, ref: &b.c} }

// find returns where the value of a key is.
func (c *composite) find(key string) (int, bool) {
	if c.index != nil {
		i, ok := c.index[key]
		return i, ok
	}
	for i, k := range c.keys {
		if k == key {
			return i, true
		}
	}
	return 0, false
}

// open returns what a list or object holds, one level deep. Of too many elements it returns one more
// than there may be.
func (v value) open() *composite {
	if v.ref != nil {
		return v.ref
	}
	if v.kind == kindList {
		return rawList(v.str)
	}
	return rawObject(v.str)
}

// field returns the value of an object's key, or missing.
func (v value) field(key string) value {
	if v.isRaw() {
		return rawField(v.str, key)
	}
	if i, ok := v.ref.find(key); ok {
		return v.ref.items[i]
	}
	return missing
}

// element returns an element of a list, or missing.
func (v value) element(i int64) value {
	switch {
	case i < 0:
		return missing
	case v.isRaw():
		return rawElement(v.str, i)
	case i >= int64(len(v.ref.items)):
		return missing
	}
	return v.ref.items[i]
}

// weight is about how many bytes a value has, if that is no more than most; lists and objects are
// counted as often as they are referred to.
func (v value) weight(most int) int {
	w := len(v.str)
	if v.ref == nil {
		return w
	}
	for i, item := range v.ref.items {
		if v.ref.keys != nil {
			w += len(v.ref.keys[i])
		}
		if w += 1 + item.weight(most-w); w > most {
			break
		}
	}
	return w
}

// full returns v with everything inside it opened, wherever it came from.
func (v value) full() value {
	if v.kind < kindList || v.isRaw() {
		return v.deep()
	}
	c := *v.ref
	c.items = make([]value, len(v.ref.items))
	for i, item := range v.ref.items {
		c.items[i] = item.full()
	}
	v.ref = &c
	return v
}

// unalias views a string as bytes that nobody may write.
func unalias(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

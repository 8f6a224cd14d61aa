package devbroker

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Frame types (AMQP 0-9-1, section 4.2.3).
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xCE
)

// frame is one frame. Its payload is good until the next is read.
type frame struct {
	kind    byte
	channel uint16
	payload []byte
}

// frameReader reads frames, none of which may be larger than max.
type frameReader struct {
	r    io.Reader
	max  int
	head [7]byte
	buf  []byte
}

// frameError says what is wrong with a frame, as RabbitMQ does.
func frameError(kind byte, payload []byte, why string) *fault {
	octets := "all octets"
	if len(payload) > 16 {
		octets, payload = "first 16 octets", payload[:16]
	}
	return hard(501, "FRAME_ERROR", "type %d, %s = %s: %s", kind, octets, erlang(payload), why)
}

// erlang writes octets as RabbitMQ does.
func erlang(b []byte) string {
	text := make([]string, len(b))
	for i, o := range b {
		text[i] = strconv.Itoa(int(o))
	}
	return "<<" + strings.Join(text, ",") + ">>"
}

func (r *frameReader) read() (f frame, err error) {
	if _, err = io.ReadFull(r.r, r.head[:]); err != nil {
		return f, err
	}
	f.kind, f.channel = r.head[0], binary.BigEndian.Uint16(r.head[1:])
	size := binary.BigEndian.Uint32(r.head[3:])
	if uint64(size)+8 > uint64(r.max) {
		return f, frameError(f.kind, nil, fmt.Sprintf("{frame_too_large,%d,%d}", size, r.max-8))
	}
	if cap(r.buf) < int(size)+1 {
		r.buf = make([]byte, size+1)
	}
	b := r.buf[:size+1]
	if _, err = io.ReadFull(r.r, b); err != nil {
		return f, err
	}
	if b[size] != frameEnd {
		return f, frameError(f.kind, b[:size], fmt.Sprintf("{invalid_frame_end_marker,%d}", b[size]))
	}
	f.payload = b[:size]
	return f, nil
}

// appendFrame appends a frame whose payload is written by fill.
func appendFrame(b []byte, kind byte, channel uint16, fill func([]byte) []byte) []byte {
	b = append(b, kind, byte(channel>>8), byte(channel), 0, 0, 0, 0)
	start := len(b)
	b = fill(b)
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return append(b, frameEnd)
}

// table is a field table in the order in which it was written.
type table []field

type field struct {
	key   string
	value any
}

// Values of a field table are: nil, bool, int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, decimal, string (long),
// []byte (byte array), time.Time, table, []any.
type decimal struct {
	scale uint8
	value int32
}

func (t table) get(key string) (any, bool) {
	for _, f := range t {
		if f.key == key {
			return f.value, true
		}
	}
	return nil, false
}

// lookup finds a value by its key.
type lookup func(key string) (any, bool)

// lookup is get for many keys: in a table that is large, it takes no longer for each.
func (t table) lookup() lookup {
	if len(t) <= 16 {
		return t.get
	}
	values := make(map[string]any, len(t))
	for _, f := range slices.Backward(t) {
		values[f.key] = f.value
	}
	return func(key string) (any, bool) {
		v, ok := values[key]
		return v, ok
	}
}

// weight is what a value of a table takes in memory, in bytes, about.
func weight(v any) int {
	n := 64
	switch v := v.(type) {
	case string:
		n += len(v)
	case []byte:
		n += len(v)
	case []any:
		for _, e := range v {
			n += weight(e)
		}
	case table:
		for _, f := range v {
			n += len(f.key) + weight(f.value)
		}
	}
	return n
}

// set replaces a value, or appends it. It returns a table of its own.
func (t table) set(key string, value any) table {
	out := make(table, 0, len(t)+1)
	found := false
	for _, f := range t {
		if f.key == key {
			f.value, found = value, true
		}
		out = append(out, f)
	}
	if !found {
		out = append(out, field{key, value})
	}
	return out
}

func (t table) without(key string) table {
	out := make(table, 0, len(t))
	for _, f := range t {
		if f.key != key {
			out = append(out, f)
		}
	}
	return out
}

// arguments reads what a method or a content header holds. After something malformed it reads zeros, and bad is set.
type arguments struct {
	b   []byte
	bad bool
}

func (a *arguments) take(n int) []byte {
	if n < 0 || n > len(a.b) {
		a.bad, a.b = true, nil
		return nil
	}
	taken := a.b[:n]
	a.b = a.b[n:]
	return taken
}

func (a *arguments) octet() byte {
	if b := a.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (a *arguments) short() uint16 {
	if b := a.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (a *arguments) long() uint32 {
	if b := a.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (a *arguments) longlong() uint64 {
	if b := a.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (a *arguments) shortstr() string { return string(a.take(int(a.octet()))) }

func (a *arguments) longstr() []byte {
	n := a.long()
	if uint64(n) > uint64(len(a.b)) {
		a.bad, a.b = true, nil
		return nil
	}
	return append([]byte{}, a.take(int(n))...)
}

// maxDepth is how deep tables and arrays may nest.
const maxDepth = 128

func (a *arguments) table() table { return a.tableAt(1) }

func (a *arguments) tableAt(depth int) (t table) {
	n := a.long()
	if uint64(n) > uint64(len(a.b)) || depth > maxDepth {
		a.bad, a.b = true, nil
		return nil
	}
	inner := arguments{b: a.take(int(n))}
	for len(inner.b) > 0 && !inner.bad {
		key := inner.shortstr()
		t = append(t, field{key, inner.value(depth)})
	}
	a.bad = a.bad || inner.bad
	return t
}

func (a *arguments) value(depth int) any {
	switch code := a.octet(); code {
	case 't':
		return a.octet() != 0
	case 'b':
		return int8(a.octet())
	case 'B':
		return a.octet()
	case 's', 'U':
		return int16(a.short())
	case 'u':
		return a.short()
	case 'I':
		return int32(a.long())
	case 'i':
		return a.long()
	case 'l', 'L':
		return int64(a.longlong())
	case 'f':
		return math.Float32frombits(a.long())
	case 'd':
		return math.Float64frombits(a.longlong())
	case 'D':
		return decimal{a.octet(), int32(a.long())}
	case 'S':
		return string(a.longstr())
	case 'x':
		return a.longstr()
	case 'T':
		return time.Unix(int64(a.longlong()), 0)
	case 'F':
		return a.tableAt(depth + 1)
	case 'A':
		return a.arrayAt(depth + 1)
	case 'V':
		return nil
	}
	a.bad, a.b = true, nil
	return nil
}

func (a *arguments) arrayAt(depth int) []any {
	n := a.long()
	if uint64(n) > uint64(len(a.b)) || depth > maxDepth {
		a.bad, a.b = true, nil
		return nil
	}
	inner := arguments{b: a.take(int(n))}
	list := []any{}
	for len(inner.b) > 0 && !inner.bad {
		list = append(list, inner.value(depth))
	}
	a.bad = a.bad || inner.bad
	return list
}

func appendShortstr(b []byte, s string) []byte {
	s = s[:min(len(s), 255)]
	return append(append(b, byte(len(s))), s...)
}

func appendLongstr(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendTable(b []byte, t table) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, f := range t {
		b = appendValue(appendShortstr(b, f.key), f.value)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, 't', 1)
		}
		return append(b, 't', 0)
	case int8:
		return append(b, 'b', byte(v))
	case uint8:
		return append(b, 'B', v)
	case int16:
		return binary.BigEndian.AppendUint16(append(b, 's'), uint16(v))
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, 'u'), v)
	case int32:
		return binary.BigEndian.AppendUint32(append(b, 'I'), uint32(v))
	case uint32:
		return binary.BigEndian.AppendUint32(append(b, 'i'), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'l'), uint64(v))
	case float32:
		return binary.BigEndian.AppendUint32(append(b, 'f'), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(v))
	case decimal:
		return binary.BigEndian.AppendUint32(append(b, 'D', v.scale), uint32(v.value))
	case string:
		return appendLongstr(append(b, 'S'), v)
	case []byte:
		return append(binary.BigEndian.AppendUint32(append(b, 'x'), uint32(len(v))), v...)
	case time.Time:
		return binary.BigEndian.AppendUint64(append(b, 'T'), uint64(v.Unix()))
	case table:
		return appendTable(append(b, 'F'), v)
	case []any:
		b = append(b, 'A')
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		for _, e := range v {
			b = appendValue(b, e)
		}
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		return b
	}
	return append(b, 'V')
}

// integer returns the value of an argument of any integer type.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int8:
		return int64(n), true
	case uint8:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int32:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int64:
		return n, true
	}
	return 0, false
}

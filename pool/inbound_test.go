package pool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/internal/rawamqp"
)

// tables are headers that show where the library's limits are, by name.
var tables = []struct {
	name  string
	table []byte
	why   string // of ErrUnreadable; "" if the library reads them
}{
	{"none", nil, ""},
	{"every type that the library knows", allTypes("VtbBsuIifDdlTSxAF"), ""},
	{"32 nested tables", rawamqp.Nested('F', 32), ""},
	{"33 nested tables", rawamqp.Nested('F', 33), "deeper than 33"},
	{"100 nested tables", rawamqp.Nested('F', 100), "deeper than 33"},
	{"32 nested lists", rawamqp.Nested('A', 32), ""},
	{"33 nested lists", rawamqp.Nested('A', 33), "deeper than 33"},
	{"100 nested lists", rawamqp.Nested('A', 100), "deeper than 33"},
	{"1,000 nested lists", rawamqp.Nested('A', 1000), "deeper than 33"},
	{"8,192 headers", many(8192, true), ""},
	{"8,193 headers", many(8193, true), "more than 8192"},
	{"10,000 headers", many(10_000, true), "more than 8192"},
	{"a list of 8,192", rawamqp.Pair("list", rawamqp.Field('A', many(8192, false)...)), ""},
	{"a list of 8,193", rawamqp.Pair("list", rawamqp.Field('A', many(8193, false)...)), "more than 8192"},
	{"a list of 8,192, and one that is cut off", rawamqp.Pair("list", rawamqp.Field('A', append(many(8192, false), 'S')...)), "not an AMQP table"},
	{"a list of 8,192, and a table that is cut off", rawamqp.Pair("list", rawamqp.Field('A', append(many(8192, false), rawamqp.Field('F', 1, 'a', 'i')...)...)), "not an AMQP table"},
	{"a list of 10,000", rawamqp.Pair("list", rawamqp.Field('A', many(10_000, false)...)), "more than 8192"},
	{"a table of 10,000", rawamqp.Pair("table", rawamqp.Field('F', many(10_000, true)...)), "more than 8192"},
	{"a key twice", append(rawamqp.Pair("key", plain('I')), rawamqp.Pair("key", rawamqp.Field('S', []byte("second")...))...), ""},
	{"10 keys 9,000 times", same(9000, 10), ""},
	{"8,192 keys, and the last again", append(many(8192, true), rawamqp.Pair("0", plain('t'))...), "more than 8192"},
	{"8,191 keys, and the last again and again, and one more", slices.Concat(many(8191, true), same(300, 1), rawamqp.Pair("more", plain('V'))), ""},
	{"an empty key", rawamqp.Pair("", plain('I')), ""},
	{"nothing but an empty key", rawamqp.Pair("", rawamqp.Field('V')), ""},
	{"longs of the other kind", allTypes("LLSFL"), ""},
	{"longs of the other kind, nested", rawamqp.Pair("k", rawamqp.Field('F', rawamqp.Pair("k", rawamqp.Field('A', plain('L')...))...)), ""},
	{"longs of the other kind, and too deep", append(rawamqp.Pair("long", plain('L')), rawamqp.Nested('F', 33)...), "deeper than 33"},
	{"an unknown type", append(rawamqp.Pair("a", plain('I')), rawamqp.Pair("z", rawamqp.Field('Z'))...), "type code 'Z'"},
}

func allTypes(codes string) (b []byte) {
	for i := range codes {
		b = append(b, rawamqp.Pair("key "+codes[i:i+1]+string(rune('0'+i)), plain(codes[i]))...)
	}
	return b
}

func headerFrame(table []byte) []byte {
	return rawamqp.AppendContent(nil, 1, "the message-id", table, "")
}

// read returns what inbound makes of some bytes.
func read(t testing.TB, b []byte) []byte {
	t.Helper()
	out, err := io.ReadAll(newInbound(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReplacedHeaders expects that what the library can read passes, and that it can read what stands in for the rest.
func TestReplacedHeaders(t *testing.T) {
	for _, c := range tables {
		t.Run(c.name, func(t *testing.T) {
			agree(t, c.table)
			frame := headerFrame(c.table)
			d, ok := newPeer(t, nil).deliver(read(t, frame))
			if !ok || d.MessageId != "the message-id" || d.ContentType != "text/plain" {
				t.Fatalf("%v, %+v", ok, d)
			}
			err := unmark(&d.Headers)
			var unreadable *ErrUnreadable
			switch {
			case c.why == "" && err != nil:
				t.Error(err)
			case c.why == "":
			case !errors.As(err, &unreadable) || !strings.Contains(err.Error(), c.why):
				t.Errorf("%v, and nothing about %q", err, c.why)
			case !bytes.Equal(unreadable.Table, c.table) || d.Headers != nil:
				t.Errorf("%d bytes are kept, not %d; %v", len(unreadable.Table), len(c.table), d.Headers)
			}
		})
	}
}

// TestOtherLongs expects that a value of type 'L' arrives as RabbitMQ reads it.
func TestOtherLongs(t *testing.T) {
	minus := bytes.Repeat([]byte{255}, 7)
	table := slices.Concat(rawamqp.Pair("a", rawamqp.Field('L', append(minus, 254)...)), rawamqp.Pair("b", rawamqp.Field('A', rawamqp.Field('L', 0, 0, 0, 0, 0, 0, 1, 0)...)))
	d, ok := newPeer(t, nil).deliver(read(t, headerFrame(table)))
	if want := (Table{"a": int64(-2), "b": []any{int64(256)}}); !ok || !reflect.DeepEqual(d.Headers, want) {
		t.Errorf("%v, %v", ok, d.Headers)
	}
}

// FuzzReplacedHeaders is the same for any headers.
func FuzzReplacedHeaders(f *testing.F) {
	for _, c := range tables {
		f.Add(c.table)
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		if len(table) < 100_000 {
			agree(t, table)
		}
	})
}

// agree compares what inbound does to headers with what the library does with them.
func agree(t testing.TB, table []byte) {
	t.Helper()
	frame := headerFrame(table)
	out := read(t, frame)
	_, reads := newPeer(t, nil).deliver(frame)
	var w walker
	why := w.walk(slices.Clip(slices.Clone(table)), true, 1)
	switch {
	case reads && why != readable && why != malformed: // of what is cut off in the middle, the library reads a part
		t.Errorf("the library reads what is said to be unreadable: %v", why)
	case why == readable && !w.longs && !bytes.Equal(out, frame):
		t.Error("headers that can be read have not passed as they were")
	case why == readable && w.longs:
		if len(out) != len(frame) || strings.ReplaceAll(string(out), "L", "l") != strings.ReplaceAll(string(frame), "L", "l") {
			t.Error("more is changed than the type of integers")
		}
	}
	d, ok := newPeer(t, nil).deliver(out)
	if !ok || d.MessageId != "the message-id" {
		t.Fatalf("the library does not read what it is given instead (%v)", why)
	}
	if marked := unmark(&d.Headers) != nil; marked != (why != readable) {
		t.Errorf("marked: %v; %v", marked, why)
	}
	// What is around the table does not count.
	for _, around := range []string{"", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		b := slices.Concat([]byte(around), table, []byte(around))
		var again walker
		if got := again.walk(b[len(around):len(around)+len(table)], true, 1); got != why {
			t.Errorf("%v between other bytes, %v alone", got, why)
		}
	}
}

// TestEncodedByTheLibrary expects that headers that the library has encoded pass as they are, and are decoded to what they were.
func TestEncodedByTheLibrary(t *testing.T) {
	sender := newPeer(t, nil)
	receiver := newPeer(t, func(c net.Conn) net.Conn { return &inboundConn{c, newInbound(c)} })
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage(t)
		if _, err := prepare(m); err != nil {
			t.Skip(err)
		}
		m.Body = nil
		if err := sender.ch.Publish("", "q", false, false, m.Publishing); err != nil {
			t.Fatal(err)
		}
		frame := <-sender.headers
		if len(frame) > frameMax {
			t.Skip("too large")
		}
		out, err := io.ReadAll(newInbound(bytes.NewReader(frame)))
		if err != nil || !bytes.Equal(out, frame) {
			t.Fatalf("%v; %d bytes have become others", err, len(frame))
		}
		d, ok := receiver.deliver(frame)
		if !ok {
			t.Fatal("the library does not read it")
		}
		if what := difference(m, &Delivery{Delivery: d}); what != "" {
			t.Fatal(what)
		}
	})
}

// inboundConn is a connection that reads as the pool's do.
type inboundConn struct {
	net.Conn
	in *inbound
}

func (c *inboundConn) Read(b []byte) (int, error) { return c.in.Read(b) }

// TestRandomHeaders compares with the library on headers that are well-formed, more or less.
func TestRandomHeaders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table := anyEncoded(rt, true, rapid.SampledFrom([]int{0, 1, 3, 31, 32, 33, 34, 50}).Draw(rt, "depth"))
		if len(table) < 100_000 {
			agree(t, table)
		}
		if t.Failed() {
			rt.Fatal("see above")
		}
	})
}

// anyEncoded draws the contents of a table, or of a list, with one inside another so many times.
func anyEncoded(t *rapid.T, table bool, depth int) (b []byte) {
	for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
		code := byte(rapid.SampledFrom([]rune("VtbBsuIifDdlLTSx")).Draw(t, "code"))
		if rapid.IntRange(0, 200).Draw(t, "odd") == 200 {
			code = rapid.Byte().Draw(t, "any code")
		}
		if table {
			b = append(b, rawamqp.Short(string(rune('a'+i)))...)
		}
		b = append(b, plain(code)...)
	}
	switch rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 1}).Draw(t, "many") {
	case 1:
		b = append(b, many(rapid.IntRange(maxEntries-4, maxEntries+4).Draw(t, "entries"), table)...)
	}
	if depth > 0 {
		code := rapid.SampledFrom([]byte("AF")).Draw(t, "nested")
		if table {
			b = append(b, rawamqp.Short("nested")...)
		}
		b = append(b, rawamqp.Field(code, anyEncoded(t, code == 'F', depth-1)...)...)
	}
	if rapid.IntRange(0, 100).Draw(t, "cut") == 100 && len(b) > 0 {
		b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "at")]
	}
	return b
}

// reference does what inbound does, with everything at hand.
func reference(b []byte) []byte {
	in := newInbound(nil)
	var out []byte
	for len(b) >= frameHead {
		size := int64(frameHead) + int64(binary.BigEndian.Uint32(b[3:])) + 1
		if size > int64(len(b)) {
			break
		}
		frame := slices.Clone(b[:size])
		if b[0] == frameTypeHeader {
			if instead, _ := in.examine(frame); instead != nil {
				frame = instead
			}
		}
		out, b = append(out, frame...), b[size:]
	}
	return append(out, b...)
}

// FuzzSplits expects that it does not matter how the bytes come, and in what pieces they are asked for.
func FuzzSplits(f *testing.F) {
	var all []byte
	for i, c := range tables {
		all = rawamqp.AppendMethod(all, 1, 60, 60, rawamqp.Short("tag"), make([]byte, 9), rawamqp.Short(""), rawamqp.Short("q"))
		all = rawamqp.AppendContent(all, 1, c.name, c.table, strings.Repeat("b", i*i*200))
		all = rawamqp.AppendFrame(all, 8, 0, nil)
		f.Add(headerFrame(c.table), uint64(i))
		f.Add(all, uint64(i))
	}
	f.Add([]byte("AMQP\x00\x00\x09\x01"), uint64(1))
	f.Add([]byte{frameTypeHeader, 0, 1, 0xff, 0xff, 0xff, 0xff, 0}, uint64(1))
	f.Add([]byte{frameTypeHeader, 0, 1, 0, 0xff, 0xff, 0xff, 0}, uint64(1))
	f.Add([]byte{3, 0, 1, 0xff, 0xff, 0xff, 0xff, 0}, uint64(1))
	f.Add(rawamqp.AppendFrame(nil, 3, 1, make([]byte, 1<<20)), uint64(2))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, seed))
		got, err := readSplit(newInbound(&split{slices.Clone(stream), rnd}), rnd)
		if err != nil {
			t.Fatal(err)
		}
		if want := reference(stream); got != string(want) {
			t.Fatalf("%d bytes, not %d; or others", len(got), len(want))
		}
	})
}

// TestInboundErrors expects that what came before an error is handed out, and the error is for good.
func TestInboundErrors(t *testing.T) {
	failure := errors.New("broken")
	half := headerFrame(many(9000, true))[:100]
	in := newInbound(io.MultiReader(bytes.NewReader(half), &failing{failure}, bytes.NewReader(half)))
	var got []byte
	b := make([]byte, 30)
	for {
		n, err := in.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			if !errors.Is(err, failure) {
				t.Error(err)
			}
			break
		}
	}
	if !bytes.Equal(got, half) {
		t.Errorf("%d bytes", len(got))
	}
	if n, err := in.Read(b); n != 0 || !errors.Is(err, failure) {
		t.Error(n, err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestLargerThanAFrame expects that headers that the library takes for too large are replaced, and kept where there is room.
func TestLargerThanAFrame(t *testing.T) {
	for _, c := range []struct {
		name        string
		table       []byte
		passes, has bool
	}{
		{"fits", filled(nil, frameMax), true, true},
		{"a byte more", filled(nil, frameMax+1), false, false},
		{"too large", rawamqp.Pair("k", rawamqp.Field('S', make([]byte, frameMax)...)), false, false},
		{"unreadable", rawamqp.Nested('A', 1000), false, true},
		{"unreadable and hardly fits", filled(rawamqp.Nested('A', 33), frameMax), false, false},
		{"much too large", rawamqp.Pair("k", rawamqp.Field('S', make([]byte, 3<<20)...)), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := headerFrame(c.table)
			in := newInbound(bytes.NewReader(frame))
			in.setFrameMax(frameMax)
			out, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			d, ok := newPeer(t, nil).deliver(out)
			if !ok {
				t.Fatal("the library closes the connection")
			}
			var unreadable *ErrUnreadable
			switch marked := errors.As(unmark(&d.Headers), &unreadable); {
			case c.passes:
				if marked || !bytes.Equal(out, frame) {
					t.Error("it has not passed")
				}
			case !marked || (unreadable.Table != nil) != c.has:
				t.Errorf("%v, %d bytes are kept", unreadable, len(unreadable.Table))
			}
		})
	}
}

// filled adds to headers so much that their frame has this size.
func filled(table []byte, size int) []byte {
	missing := size - len(headerFrame(append(table, rawamqp.Pair("k", rawamqp.Field('S'))...)))
	return append(table, rawamqp.Pair("k", rawamqp.Field('S', make([]byte, missing)...))...)
}

// TestForgedMark expects that only this process can say that headers are unreadable.
func TestForgedMark(t *testing.T) {
	for _, headers := range []Table{nil, {}, {markKey: "text"}, {markKey: nil}, {"unreadable": []byte{0, 1}}, {markKey: []byte{0, 1}, "other": nil}} {
		n := len(headers)
		if err := unmark(&headers); err != nil || len(headers) != n {
			t.Errorf("%v: %v", headers, err)
		}
	}
}

// TestReturnedUnreadable expects that a message that comes back with other headers is found by all else.
func TestReturnedUnreadable(t *testing.T) {
	var in inbound
	frame, _ := in.examine(headerFrame(rawamqp.Nested('F', 100)))
	d, ok := newPeer(t, nil).deliver(frame)
	if !ok {
		t.Fatal("the library closes the connection")
	}
	back := &amqp.Return{RoutingKey: "nowhere", Body: []byte("b"), Headers: d.Headers}
	m := func(key, body string) *Publishing {
		return &Publishing{RoutingKey: key, Mandatory: true, Publishing: amqp.Publishing{Body: []byte(body), Headers: Table{"a": "b"}}}
	}
	if n := alike(m("nowhere", "b"), back); n != content {
		t.Error(n)
	}
	if n := alike(m("nowhere", "c"), back); n != addressed {
		t.Error(n)
	}
}

// BenchmarkInbound reads the frames of 1 kB messages with three headers, 4 kB at a time as the library does: with inbound, and with a buffer
// that does not look at them.
func BenchmarkInbound(b *testing.B) {
	var stream []byte
	table := slices.Concat(rawamqp.Pair("trace", rawamqp.Field('S', make([]byte, 32)...)), rawamqp.Pair("n", plain('l')), rawamqp.Pair("at", plain('T')))
	for range 50 {
		stream = rawamqp.AppendMethod(stream, 1, 60, 60, rawamqp.Short("tag"), make([]byte, 9), rawamqp.Short(""), rawamqp.Short("q"))
		stream = rawamqp.AppendContent(stream, 1, "id", table, string(benchBody))
	}
	for name, in := range map[string]io.Reader{
		"inbound": newInbound(&endless{rest: stream, all: stream}),
		"buffer":  bufio.NewReaderSize(&endless{rest: stream, all: stream}, readBuffer),
	} {
		b.Run(name, func(b *testing.B) {
			p, size, done := make([]byte, 4096), len(stream)/50, 0
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for done < size {
					n, err := in.Read(p)
					if err != nil {
						b.Fatal(err)
					}
					done += n
				}
				done -= size
			}
		})
	}
}

// endless reads the same bytes again and again.
type endless struct{ rest, all []byte }

func (e *endless) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.all
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

package pool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"
	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/internal/rawamqp"
)

// seen is what a port has taken from a stream, and what it has left to the library.
type seen struct {
	deliveries []amqp.Delivery
	returns    []amqp.Return
	confirms   []confirm
	left       string
	err        error
}

type confirm struct {
	tag           uint64
	multiple, ack bool
}

// takeAll has a port of channel 1 take what it can of what comes from src, read in pieces.
func takeAll(src io.Reader, rnd *rand.Rand, limit int) seen {
	return takeAllAs(false, src, rnd, limit)
}

// takeAllAs has the headers encoded where they can be, or not.
func takeAllAs(encoded bool, src io.Reader, rnd *rand.Rand, limit int) (got seen) {
	in := newInbound(src)
	in.setFrameMax(limit)
	p := &port{id: 1, wire: &wire{in: in}}
	p.delivered = func(a arrival) {
		var d Delivery
		a.delivery(&d, encoded)
		d.Headers = d.table()
		got.deliveries = append(got.deliveries, d.Delivery)
	}
	p.returned = func(r *amqp.Return) { got.returns = append(got.returns, *r) }
	p.confirmed = func(tag uint64, multiple, ack bool) { got.confirms = append(got.confirms, confirm{tag, multiple, ack}) }
	p.listen()
	in.alive = time.Now().Add(time.Hour) // no heartbeats between what is left
	got.left, got.err = readSplit(in, rnd)
	return got
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

func deliverMethod(tag uint64) []byte {
	return rawamqp.AppendMethod(nil, 1, 60, 60, rawamqp.Short("consumer"), binary.BigEndian.AppendUint64(nil, tag), []byte{1}, rawamqp.Short("e"), rawamqp.Short("q"))
}

// TestPublishAsTheLibraryWould expects of any message that the library reads it as it was, that the frames are no larger than was reserved for
// them, and that a port takes what the library reads.
func TestPublishAsTheLibraryWould(t *testing.T) {
	library := newPeer(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage(t)
		reserved, err := prepare(m)
		if err != nil {
			t.Skip(err)
		}
		limit := rapid.SampledFrom([]int{0, 4096, frameMax}).Draw(t, "frame_max")
		published := appendPublish(nil, 1, m, limit)
		method, header, body := takeApart(t, published, limit)
		if want := rawamqp.AppendMethod(nil, 1, 60, 40, []byte{0, 0}, rawamqp.Short(m.Exchange), rawamqp.Short(m.RoutingKey), []byte{1}); !bytes.Equal(method, want) {
			t.Fatalf("basic.publish is % x, not % x", method, want)
		}
		if len(header) > reserved {
			t.Fatalf("the header has %d bytes, %d were reserved", len(header), reserved)
		}
		if string(body) != string(m.Body) {
			t.Fatal("the body is another")
		}
		if len(header) > frameMax {
			t.Skip("too large for the library")
		}
		got := takeAll(bytes.NewReader(append(deliverMethod(7), published[len(method):]...)), source(uint64(len(body))), 0)
		if got.err != nil || len(got.deliveries) != 1 || got.left != "" {
			t.Fatalf("%v, %d deliveries, %d bytes are left", got.err, len(got.deliveries), len(got.left))
		}
		d := got.deliveries[0]
		if what := difference(m, &Delivery{Delivery: d}); what != "" {
			t.Fatal("the port:", what)
		}
		alone := slices.Clone(header) // the header of the same message without a body, for the library
		clear(alone[frameHead+4 : frameHead+12])
		reads, ok := library.deliver(alone)
		if !ok {
			t.Fatal("the library does not read it")
		}
		d.Body = d.Body[:0]
		sameAsLibrary(t, &d, &reads)
	})
}

// sameAsLibrary compares what a port has made of a message with what the library has.
func sameAsLibrary(t rapid.TB, port, library *amqp.Delivery) {
	t.Helper()
	d := *library
	d.Acknowledger, d.ConsumerTag, d.DeliveryTag, d.Redelivered, d.Exchange = port.Acknowledger, port.ConsumerTag, port.DeliveryTag, port.Redelivered, port.Exchange
	if a, b := spelled(port.Headers), spelled(d.Headers); a != b {
		t.Fatalf("headers: %s, not %s", a, b)
	}
	d.Headers = port.Headers
	if !reflect.DeepEqual(&d, port) {
		t.Fatalf("%+v, not %+v", port, &d)
	}
}

// takeApart takes the frames of a published message apart, none of which is larger than the limit.
func takeApart(t rapid.TB, b []byte, limit int) (method, header, body []byte) {
	t.Helper()
	for n := 0; len(b) > 0; n++ {
		size := frameHead + int(binary.BigEndian.Uint32(b[3:])) + 1
		frame := b[:size]
		b = b[size:]
		switch {
		case frame[size-1] != frameEnd || !bytes.Equal(frame[1:3], []byte{0, 1}):
			t.Fatal("a frame has another channel, or end")
		case n == 0 && frame[0] == frameTypeMethod:
			method = frame
		case n == 1 && frame[0] == frameTypeHeader:
			header = frame
		case n > 1 && frame[0] == frameTypeBody && (limit == 0 || size <= limit):
			body = append(body, frame[frameHead:size-1]...)
		default:
			t.Fatalf("frame %d is of type %d and has %d bytes", n, frame[0], size)
		}
	}
	return method, header, body
}

// TestTakeAsTheLibraryWould expects that a port makes of any headers what the library does.
func TestTakeAsTheLibraryWould(t *testing.T) {
	library := newPeer(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		table := anyEncoded(t, true, rapid.SampledFrom([]int{0, 1, 3, 31, 32, 33, 34}).Draw(t, "depth"))
		frame := headerFrame(table)
		if len(frame) > frameMax {
			t.Skip("too large")
		}
		got := takeAll(bytes.NewReader(append(deliverMethod(7), frame...)), source(uint64(len(frame))), frameMax)
		reads, ok := library.deliver(reference(frame))
		if !ok || got.err != nil || len(got.deliveries) != 1 {
			t.Fatalf("the library: %v; the port: %v, %d deliveries", ok, got.err, len(got.deliveries))
		}
		sameAsLibrary(t, &got.deliveries[0], &reads)
	})
}

// TestPortTakesItsFramesOnly expects that a port takes what it is for, in order, and that all else passes as it was.
func TestPortTakesItsFramesOnly(t *testing.T) {
	var all, left []byte
	pass := func(frame []byte) { all, left = append(all, frame...), append(left, frame...) }
	take := func(frames ...[]byte) { all = slices.Concat(append([][]byte{all}, frames...)...) }
	other := rawamqp.AppendMethod(nil, 2, 60, 60, rawamqp.Short("tag"), make([]byte, 9), rawamqp.Short(""), rawamqp.Short("q"))
	for i := range 50 {
		body := strings.Repeat("b", i*i*100)
		take(deliverMethod(uint64(i)), rawamqp.AppendContent(nil, 1, "id", nil, ""))
		pass(rawamqp.AppendContent(other, 2, "of another channel", nil, body))
		pass(rawamqp.AppendFrame(nil, 8, 0, nil))
		take(rawamqp.AppendMethod(nil, 1, 60, 80, binary.BigEndian.AppendUint64(nil, uint64(i)), []byte{byte(i & 1)}))
		pass(rawamqp.AppendMethod(nil, 1, 60, 21, rawamqp.Short("consume-ok")))
		take(rawamqp.AppendMethod(nil, 1, 60, 120, binary.BigEndian.AppendUint64(nil, uint64(i)), []byte{byte(i & 1)}))
		take(rawamqp.AppendMethod(nil, 1, 60, 50, []byte{1, 56}, rawamqp.Short("NO_ROUTE"), rawamqp.Short("e"), rawamqp.Short("k")),
			rawamqp.AppendContent(nil, 1, "back", rawamqp.Pair("a", plain('t')), body))
	}
	pass(rawamqp.AppendMethod(nil, 1, 20, 40, []byte{1, 148}, rawamqp.Short("bye"), make([]byte, 4))) // channel.close
	pass(deliverMethod(99))                                                                           // the number may be another channel's
	for seed := range uint64(50) {
		got := takeAll(&split{slices.Clone(all), source(seed)}, source(seed), 0)
		if got.err != nil || got.left != string(left) {
			t.Fatalf("%v; %d bytes are left, not %d; or others", got.err, len(got.left), len(left))
		}
		if len(got.deliveries) != 50 || len(got.returns) != 50 || len(got.confirms) != 100 {
			t.Fatalf("%d deliveries, %d returns, %d confirms", len(got.deliveries), len(got.returns), len(got.confirms))
		}
		for i := range 50 {
			d, r := got.deliveries[i], got.returns[i]
			if d.DeliveryTag != uint64(i) || !d.Redelivered || d.ConsumerTag != "consumer" || d.Exchange != "e" || d.RoutingKey != "q" || d.MessageId != "id" || len(d.Body) != 0 {
				t.Fatalf("%+v", d)
			}
			if r.ReplyCode != 312 || r.ReplyText != "NO_ROUTE" || r.Exchange != "e" || r.RoutingKey != "k" || r.MessageId != "back" || len(r.Headers) != 1 || len(r.Body) != i*i*100 {
				t.Fatalf("%+v", r)
			}
			if c := got.confirms[2*i : 2*i+2]; c[0] != (confirm{uint64(i), i&1 != 0, true}) || c[1] != (confirm{uint64(i), i&1 != 0, false}) {
				t.Fatalf("%+v", c)
			}
		}
	}
}

// TestPortRefusesWhatIsMalformed expects an error that ends the connection, and nothing delivered.
func TestPortRefusesWhatIsMalformed(t *testing.T) {
	header := rawamqp.AppendContent(nil, 1, "id", nil, "12345")[:len(rawamqp.AppendContent(nil, 1, "id", nil, "12345"))-frameOverhead-5]
	body := rawamqp.AppendFrame(nil, 3, 1, []byte("12345"))
	for name, frames := range map[string][][]byte{
		"a delivery without its end":        {rawamqp.AppendMethod(nil, 1, 60, 60, rawamqp.Short("consumer"), []byte{0, 0})},
		"a string that is longer":           {rawamqp.AppendMethod(nil, 1, 60, 60, []byte{255, 'a'})},
		"a confirm without its end":         {rawamqp.AppendMethod(nil, 1, 60, 80, []byte{0, 0, 0, 0, 0, 0, 0, 1})},
		"a method without its number":       {rawamqp.AppendFrame(nil, 1, 1, []byte{0, 60, 0})},
		"a method instead of a header":      {deliverMethod(1), deliverMethod(2)},
		"a method instead of a body":        {deliverMethod(1), header, deliverMethod(2)},
		"a body instead of a header":        {deliverMethod(1), body},
		"a header instead of a body":        {deliverMethod(1), header, header},
		"a heartbeat instead of a header":   {deliverMethod(1), rawamqp.AppendFrame(nil, 8, 1, nil)},
		"a body that is too long":           {deliverMethod(1), header, rawamqp.AppendFrame(nil, 3, 1, []byte("123456"))},
		"a header without its end":          {deliverMethod(1), rawamqp.AppendFrame(nil, 2, 1, []byte{0, 60, 0, 0, 0})},
		"a header without its properties":   {deliverMethod(1), rawamqp.AppendFrame(nil, 2, 1, []byte{0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfc})},
		"a table that is longer than it is": {deliverMethod(1), rawamqp.AppendFrame(nil, 2, 1, []byte{0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 255, 255, 255, 255})},
	} {
		t.Run(name, func(t *testing.T) {
			got := takeAll(bytes.NewReader(slices.Concat(frames...)), source(1), 0)
			if got.err == nil || !strings.Contains(got.err.Error(), "channel 1") || len(got.deliveries)+len(got.confirms) > 0 || got.left != "" {
				t.Errorf("%v; %+v", got.err, got)
			}
		})
	}
}

// TestWhatALibraryRefusesPassesAPort expects that what the library has a word for reaches it.
func TestWhatTheLibraryRefusesPassesAPort(t *testing.T) {
	noEnd := deliverMethod(1)
	noEnd[len(noEnd)-1] = 0
	tooLarge := rawamqp.AppendFrame(nil, 1, 1, append([]byte{0, 60, 0, 60}, make([]byte, 5000)...))
	for _, frame := range [][]byte{noEnd, tooLarge} {
		if got := takeAll(bytes.NewReader(frame), source(1), 4096); got.err != nil || got.left != string(frame) {
			t.Errorf("%v; %d bytes are left of %d", got.err, len(got.left), len(frame))
		}
	}
}

// TestSettleFrames expects the frames of the specification.
func TestSettleFrames(t *testing.T) {
	tag := binary.BigEndian.AppendUint64(nil, 0x0102030405060708)
	for method, bits := range map[uint16]byte{basicAck: bitMultiple, basicReject: 0, basicNack: bitNackRequeue} {
		got := appendSettle(nil, 258, method, 0x0102030405060708, bits)
		if want := rawamqp.AppendMethod(nil, 258, 60, method, tag, []byte{bits}); !bytes.Equal(got, want) {
			t.Errorf("% x, not % x", got, want)
		}
	}
}

// TestTheLibraryStaysAlive expects that the library sees a sign of life while a port takes everything.
func TestTheLibraryStaysAlive(t *testing.T) {
	in := newInbound(bytes.NewReader(slices.Concat(deliverMethod(1), rawamqp.AppendContent(nil, 1, "id", nil, ""))))
	p := &port{wire: &wire{in: in}, id: 1, delivered: func(arrival) {}}
	p.listen()
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, heartbeat) {
		t.Errorf("%v, % x", err, got)
	}
}

// FuzzPort expects that no bytes make a port panic or lose its place: whatever is left to the library, whole frames come whole.
func FuzzPort(f *testing.F) {
	whole := slices.Concat(deliverMethod(1), rawamqp.AppendContent(nil, 1, "id", allTypes("VtbBsuIifDdlLTSxAF"), "body"))
	f.Add(whole, uint64(1))
	f.Add(slices.Concat(whole, rawamqp.AppendFrame(nil, 8, 0, nil), whole), uint64(2))
	for _, c := range tables {
		f.Add(slices.Concat(deliverMethod(1), headerFrame(c.table)), uint64(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		got := takeAll(&split{slices.Clone(stream), source(seed)}, source(seed), frameMax)
		again := takeAll(bytes.NewReader(slices.Clone(stream)), source(seed), frameMax)
		if !reflect.DeepEqual(got, again) && spelled(got) != spelled(again) {
			t.Error("it matters how the bytes come")
		}
		encoded := takeAllAs(true, bytes.NewReader(slices.Clone(stream)), source(seed), frameMax)
		if !slices.EqualFunc(got.deliveries, encoded.deliveries, func(a, b amqp.Delivery) bool { return spelled(a.Headers) == spelled(b.Headers) }) {
			t.Error("encoded headers are others")
		}
		for _, d := range got.deliveries {
			if len(d.Body) > len(stream) {
				t.Error("a body is longer than all that has come")
			}
		}
	})
}

// TestInboxKeepsNoMoreThanItHolds expects that all comes in order, whatever the chunks; that what was taken is kept nowhere; and that an inbox
// that is empty keeps little.
func TestInboxKeepsNoMoreThanItHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := newInbox()
		var last, handed uint64
		take := func() bool {
			b := in.take(true)
			if b == nil {
				return false
			}
			defer b.free()
			for _, d := range b.deliveries() {
				if handed++; d.DeliveryTag != handed || d.MessageId != fmt.Sprint(handed) || string(d.Body) != d.MessageId {
					t.Fatalf("%+v came as delivery %d", d.Delivery, handed)
				}
			}
			return true
		}
		for range rapid.IntRange(1, 30).Draw(t, "turns") {
			var stream []byte
			for range rapid.IntRange(0, 5*MaxChunk).Draw(t, "arrive") {
				last++
				id := fmt.Sprint(last)
				stream = rawamqp.AppendContent(append(stream, deliverMethod(last)...), 1, id, nil, id)
			}
			for _, a := range arrived(t, stream) {
				in.put(a)
			}
			for range rapid.IntRange(0, 8).Draw(t, "take") {
				take()
			}
			kept := 0
			for _, a := range slices.Concat(in.arrived[:cap(in.arrived)], in.room[:cap(in.room)]) {
				if a.head != nil {
					kept++
				}
			}
			if kept != int(last-handed) {
				t.Fatalf("%d are kept of %d that have not been taken", kept, last-handed)
			}
		}
		for take() {
		}
		if room := cap(in.arrived) + cap(in.room); handed != last || room > 2*keepArrivals {
			t.Fatalf("%d of %d came; there is room for %d", handed, last, room)
		}
		if b := freeBlocks.Get().(*block); !reflect.DeepEqual(b, new(block)) {
			t.Fatal("a block that was freed is not empty")
		}
	})
}

// TestArrivalIsTwoAllocations expects that nothing is allocated for a message that comes but for what it is made of, and nothing to decode it,
// whatever properties it has.
func TestArrivalIsTwoAllocations(t *testing.T) {
	m := &Publishing{Publishing: amqp.Publishing{
		ContentType: "a", ContentEncoding: "b", DeliveryMode: 2, Priority: 1, CorrelationId: "c", ReplyTo: "d", Expiration: "5", MessageId: "e",
		Timestamp: time.Unix(7, 0), Type: "f", UserId: "g", AppId: "h", Headers: Table{"x": "y"}, Body: []byte("body"),
	}}
	frames := appendPublish(nil, 1, m, 0)
	stream := append(deliverMethod(1), frames[frameHead+int(binary.BigEndian.Uint32(frames[3:]))+1:]...)
	src := bytes.NewReader(nil)
	in := newInbound(src)
	box := newInbox()
	p := &port{id: 1, wire: &wire{in: in}, delivered: box.put}
	p.listen()
	in.alive = time.Now().Add(time.Hour)
	buf := make([]byte, 16)
	n := testing.AllocsPerRun(1000, func() {
		src.Reset(stream)
		in.err = nil
		_, _ = in.Read(buf)
		b := box.take(true)
		if d := &b.deliveries()[0]; d.AppId != "h" || d.Encoded.Len() != 1 {
			t.Errorf("%+v", d)
		}
		b.free()
	})
	if n > 2 {
		t.Errorf("%v allocations", n)
	}
}

// TestFramesComeWhole expects that frames that the library writes in pieces, and those of ports, reach the broker one by one.
func TestFramesComeWhole(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	w.in, w.framed = newInbound(near), true
	const n = 2_000
	if _, err := io.WriteString(w, protocolHeader); err != nil {
		t.Fatal(err)
	}
	var wg conc.WaitGroup
	wg.Go(func() {
		rnd := source(1)
		var all []byte
		for i := range n {
			all = rawamqp.AppendFrame(all, 2, 9, binary.BigEndian.AppendUint32(make([]byte, rnd.IntN(3_000)), uint32(i)))
		}
		for len(all) > 0 {
			piece := min(len(all), 1+rnd.IntN(5_000))
			if _, err := w.Write(all[:piece]); err != nil {
				t.Error(err)
				return
			}
			all = all[piece:]
			runtime.Gosched()
		}
	})
	for id := range uint16(3) {
		wg.Go(func() {
			p := &port{wire: w, id: id, frameMax: 4096}
			for i := range n {
				p.settle(basicAck, uint64(i), 0)
				m := &Publishing{Publishing: amqp.Publishing{Body: make([]byte, i*5)}}
				if err := p.publish(m, 20_000); err != nil {
					t.Error(err)
					return
				}
				w.end(20_000, false)
			}
		})
	}
	r := bufio.NewReader(far)
	if _, err := r.Discard(len(protocolHeader)); err != nil {
		t.Fatal(err)
	}
	var next [3]struct{ settled, published, body int }
	for library, done := 0, 0; library < n || done < 3; {
		var head [frameHead]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatal(err)
		}
		end := len(payload) - 1
		if payload[end] != frameEnd {
			t.Fatalf("a frame is in another: % x", head)
		}
		id := binary.BigEndian.Uint16(head[1:])
		if id == 9 {
			if got := int(binary.BigEndian.Uint32(payload[end-4:])); got != library {
				t.Fatalf("the library's frame %d comes as %d", got, library)
			}
			library++
			continue
		}
		switch c := &next[id]; {
		case head[0] == frameTypeBody:
			c.body += end
		case head[0] == frameTypeHeader:
		case payload[3] == basicAck && binary.BigEndian.Uint64(payload[4:]) == uint64(c.settled) && c.body == 5*c.settled*(c.settled-1)/2:
			c.settled++
		case payload[3] == basicPublish:
			if c.published++; c.published == n {
				done++
			}
		default:
			t.Fatalf("% x after %+v", payload, c)
		}
	}
	wg.Wait()
}

// TestNothingIsWrittenOnAClosedChannel expects that a port that has been closed writes nothing: the number may be another channel's.
func TestNothingIsWrittenOnAClosedChannel(t *testing.T) {
	near, _ := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	w.in = newInbound(near)
	p, other := &port{wire: w, id: 1}, &port{wire: w, id: 1}
	p.listen()
	other.listen()
	p.close()
	if w.in.ports.of([]byte{1, 0, 1}) != other {
		t.Error("the port that has the number now was closed")
	}
	p.settle(basicAck, 1, 0)
	if err := p.publish(&Publishing{}, 100); !errors.Is(err, errShut) {
		t.Error(err)
	}
	if len(w.buffer) != 0 {
		t.Errorf("% x", w.buffer)
	}
}

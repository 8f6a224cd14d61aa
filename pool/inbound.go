package pool

import (
	"encoding/binary"
	"io"
	"sync/atomic"
	"time"
)

const (
	// readBuffer spares system calls: the library reads 4 kB at a time.
	readBuffer = 64 << 10
	// readThrough is how much of a body, at least, is read past the buffer.
	readThrough = 16 << 10
	// keepRead is the largest read buffer that is kept once it is empty.
	keepRead = 256 << 10
	// maxHeaderFrame is the largest content header that is looked at. A larger one passes, and the library closes the connection.
	maxHeaderFrame = 16 << 20

	// aliveEvery is how often, at least, the library is told that the broker is alive while all that it sends is for ports.
	aliveEvery = 500 * time.Millisecond
)

// inbound reads the AMQP frames that a broker sends, for the client library. Every byte passes as it came, but for content
// headers with a headers table that the library would close the connection over: see [inbound.examine].
//
// A frame other than a content header passes as far as it has arrived. A content header waits in the buffer until it is whole. The
// library has no use for half a frame, so nothing is held up. BenchmarkInbound and BenchmarkConsume watch the cost: what was
// buffered before is buffered now, and nothing is allocated unless a headers table is replaced.
//
// Frames that are for a [port] it gives to that one, each once it is whole; the library does not see them. So that the library knows
// that the broker is alive, it sees a heartbeat for them from time to time.
//
// Read is for one goroutine; setFrameMax is for any.
type inbound struct {
	src      io.Reader
	frameMax atomic.Uint32 // as negotiated; 0 when it is not known yet, or there is none
	ports    ports

	buf  []byte
	r    int    // where Read goes on
	ok   int    // what is before may be handed out
	w    int    // where the buffer ends
	skip int64  // bytes of the last frame that have not arrived, and pass
	out  []byte // what is left of a frame that stands in for the one at ok, once all before that has been handed out
	next int    // where that one ends; 0 when none is replaced
	err  error  // of src, or of a port; for good

	again bool      // more can be found out once all before ok has been handed out
	taken bool      // a port has taken something since alive
	alive time.Time // when the library was last given something
}

func newInbound(src io.Reader) *inbound {
	return &inbound{src: src, buf: make([]byte, readBuffer)}
}

// setFrameMax says what was negotiated: the library reads no frame that is larger.
func (in *inbound) setFrameMax(n int) { in.frameMax.Store(uint32(n)) }

// Read implements io.Reader. After an error of the source it returns what had arrived, and then the error for ever.
func (in *inbound) Read(p []byte) (int, error) {
	for len(p) > 0 {
		switch {
		case in.r < in.ok:
			n := copy(p, in.buf[in.r:in.ok])
			in.r += n
			return n, nil
		case len(in.out) > 0:
			n := copy(p, in.out)
			in.out = in.out[n:]
			return n, nil
		case in.next > 0:
			in.r, in.ok, in.next, in.out = in.next, in.next, 0, nil
			in.scan()
		case in.again:
			in.again = false
			in.scan()
		case in.taken && in.skip == 0 && time.Since(in.alive) >= aliveEvery:
			in.taken, in.alive = false, time.Now()
			in.out = heartbeat
		case in.err != nil && in.r < in.w:
			in.ok = in.w // half a frame
		case in.err != nil:
			return 0, in.err
		case in.r == in.w && in.skip >= int64(len(p)) && len(p) >= readThrough:
			n, err := in.src.Read(p)
			in.skip -= int64(n)
			if in.err = err; n > 0 || err == nil {
				return n, nil
			}
		default:
			if n := in.fill(); n == 0 && in.err == nil {
				return 0, nil
			}
			in.scan()
		}
	}
	return 0, nil
}

// fill reads once. What waits in the buffer is less than a frame.
func (in *inbound) fill() int {
	rest := in.buf[in.r:in.w]
	switch {
	case len(rest) == len(in.buf):
		in.buf = make([]byte, 2*len(rest))
	case len(rest) == 0 && len(in.buf) > keepRead:
		in.buf = make([]byte, readBuffer)
	}
	in.r, in.ok, in.w = 0, 0, copy(in.buf, rest)
	n, err := in.src.Read(in.buf[in.w:])
	in.w += n
	in.err = err
	return n
}

// scan goes on from ok: it finds out what may be handed out, and gives ports what is theirs. It stops at a frame that is to be replaced,
// and at one for a port while something before it has not been handed out.
func (in *inbound) scan() {
	here := min(in.skip, int64(in.w-in.ok))
	in.ok += int(here)
	if in.skip -= here; in.skip > 0 {
		return
	}
	for in.w-in.ok >= frameHead {
		b := in.buf[in.ok:in.w] // from the next frame on
		size := frameHead + int64(binary.BigEndian.Uint32(b[3:])) + 1
		whole := size <= int64(len(b))
		if p := in.ports.of(b); p != nil && p.mine(b[0]) && in.fits(b[0], size) {
			if !whole {
				return
			}
			if in.r < in.ok {
				in.again = true
				return
			}
			taken, err := p.take(b[:size], in)
			if err != nil {
				in.err, in.w = err, in.ok
				return
			}
			if taken {
				in.taken = true
				in.ok += int(size)
				in.r = in.ok
				continue
			}
		} else if b[0] == frameTypeHeader && size <= maxHeaderFrame {
			if !whole {
				return
			}
			if in.out, _ = in.examine(b[:size]); in.out != nil {
				in.next = in.ok + int(size)
				return
			}
		}
		if !whole {
			in.skip = size - int64(len(b))
			in.ok = in.w
			return
		}
		in.ok += int(size)
	}
}

// fits reports that a frame is no larger than it may be. The library closes the connection over a larger one.
func (in *inbound) fits(kind byte, size int64) bool {
	if kind == frameTypeHeader {
		return size <= maxHeaderFrame
	}
	limit := int64(in.frameMax.Load())
	return limit == 0 || size <= limit
}

// examine looks at a whole content header frame. It returns nil if the library can read it, else a frame to stand in for it: with
// [standIn] as its headers, and the rest as it was. A frame that breaks the protocol passes: to end the connection is for the library.
// Headers are plain if there is nothing in them that cannot be published again as it is.
//
// The type code 'L' is written over with 'l' where it stands. RabbitMQ takes both for the same signed 64-bit integer
// (rabbit_binary_parser:parse_table), and delivers the one that was published; the library knows only 'l'.
func (in *inbound) examine(frame []byte) (instead []byte, plain bool) {
	from, to := findHeaders(frame)
	if from == 0 {
		return nil, false
	}
	table, limit := frame[from:to], int(in.frameMax.Load())
	if limit > 0 && len(frame) > limit {
		return replaceHeaders(frame, from, to, limit, headersTooLarge), false
	}
	var w walker
	why := w.walk(table, true, 1)
	switch {
	case why != readable:
		return replaceHeaders(frame, from, to, limit, why), false
	case w.longs:
		w.rename = true
		w.walk(table, true, 1)
	}
	return nil, !w.odd
}

// findHeaders returns where in a content header frame the contents of the headers table are, behind their length; 0 if there is none, or
// the frame is not well-formed before the table ends.
func findHeaders(frame []byte) (from, to int) {
	end := len(frame) - 1
	if end < frameHead+contentHeader || frame[end] != frameEnd {
		return 0, 0
	}
	flags := binary.BigEndian.Uint16(frame[frameHead+contentHeader-2:])
	if flags&flagHeaders == 0 {
		return 0, 0
	}
	from = frameHead + contentHeader
	for _, before := range [...]uint16{1 << 15, 1 << 14} { // content-type and content-encoding
		if flags&before == 0 {
			continue
		}
		if from >= end {
			return 0, 0
		}
		from += 1 + int(frame[from])
	}
	if end-from < 4 {
		return 0, 0
	}
	size := binary.BigEndian.Uint32(frame[from:])
	from += 4
	if uint64(size) > uint64(end-from) {
		return 0, 0
	}
	return from, from + int(size)
}

// replaceHeaders returns a frame that is like frame but for the headers between from and to.
func replaceHeaders(frame []byte, from, to, limit int, why fault) []byte {
	table := standIn(why, frame[from:to])
	if size := len(frame) - (to - from) + len(table); limit > 0 && size > limit {
		table = standIn(why, nil)
	}
	out := make([]byte, 0, len(frame)-(to-from)+len(table))
	out = append(out, frame[:from]...)
	binary.BigEndian.PutUint32(out[from-4:], uint32(len(table)))
	out = append(out, table...)
	out = append(out, frame[to:]...)
	binary.BigEndian.PutUint32(out[3:], uint32(len(out)-frameHead-1))
	return out
}

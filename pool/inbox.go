package pool

import "sync"

// keepArrivals is how many arrivals an inbox with nothing in it keeps room for, at most.
const keepArrivals = 4 * MaxChunk

// inbox keeps what has arrived and has not been taken: no more than the prefetch. put is for one goroutine, and take for another.
type inbox struct {
	more chan struct{} // something has arrived

	mu      sync.Mutex
	arrived []arrival

	// For the goroutine that takes: what it has not taken of what had arrived when it last looked, and where that began.
	rest, room []arrival
}

// block is deliveries that are handed over at once. A delivery has some 400 bytes, so there are only as many blocks as are being handed
// over: they go from consumer to consumer.
type block struct {
	room [MaxChunk]Delivery
	n    int
}

var freeBlocks = sync.Pool{New: func() any { return new(block) }}

// deliveries returns what is in the block.
func (b *block) deliveries() []Delivery { return b.room[:b.n] }

// free gives the block back.
func (b *block) free() {
	clear(b.deliveries())
	b.n = 0
	freeBlocks.Put(b)
}

func newInbox() inbox { return inbox{more: make(chan struct{}, 1)} }

// put adds what has arrived.
func (in *inbox) put(a arrival) {
	in.mu.Lock()
	in.arrived = append(in.arrived, a)
	in.mu.Unlock()
	select {
	case in.more <- struct{}{}:
	default:
	}
}

// take decodes what is there, as much as fits in a block, which the caller frees. It does not wait: it returns nil if nothing is there.
func (in *inbox) take(encoded bool) *block {
	if len(in.rest) == 0 {
		in.look()
	}
	if len(in.rest) == 0 {
		return nil
	}
	b := freeBlocks.Get().(*block)
	b.n = min(len(in.rest), MaxChunk)
	for i := range b.n {
		in.rest[i].delivery(&b.room[i], encoded)
	}
	clear(in.rest[:b.n])
	in.rest = in.rest[b.n:]
	return b
}

// look changes what has been taken for what has arrived.
func (in *inbox) look() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.arrived) == 0 {
		if cap(in.arrived) > keepArrivals {
			in.arrived = nil
		}
		if cap(in.room) > keepArrivals {
			in.room = nil
		}
		return
	}
	in.rest, in.arrived, in.room = in.arrived, in.room[:0], in.arrived
}

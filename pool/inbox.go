package pool

import (
	"slices"
	"sync"
)

// inbox keeps deliveries that have arrived and have not been handed over: no more than the prefetch.
//
// A delivery has some 400 bytes, so it is neither allocated nor copied on its way. The reader goroutine fills it in where it
// stays, in a block; what is handed over is a part of that block; and a block with nothing left in it is the next one of
// whichever consumer needs one. An idle consumer has none.
type inbox struct {
	more chan struct{} // something has arrived

	mu      sync.Mutex
	blocks  []*block // oldest first: the first is handed over from, the last is filled
	filling bool     // a delivery is being filled in that has not arrived whole
}

// block is room for deliveries. What is not in use is zero.
type block struct {
	deliveries [MaxChunk]Delivery
	arrived    int // the first so many have arrived, and of those
	taken      int // so many have been handed over
}

var freeBlocks = sync.Pool{New: func() any { return new(block) }}

func newInbox() inbox { return inbox{more: make(chan struct{}, 1)} }

// slot returns where the next delivery is to be filled in. put says that it has arrived; until then only the caller uses it.
func (in *inbox) slot() *Delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	last := len(in.blocks) - 1
	if last < 0 || in.blocks[last].arrived == MaxChunk {
		in.blocks = append(in.blocks, freeBlocks.Get().(*block))
		last++
	}
	in.filling = true
	b := in.blocks[last]
	return &b.deliveries[b.arrived]
}

// put says that the delivery in the slot has arrived.
func (in *inbox) put(*Delivery) {
	in.mu.Lock()
	in.blocks[len(in.blocks)-1].arrived++
	in.filling = false
	in.mu.Unlock()
	select {
	case in.more <- struct{}{}:
	default:
	}
}

// take hands over what is there, without waiting: [MaxChunk] deliveries at most. The caller clears them before it takes more.
func (in *inbox) take() []Delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.blocks) > 0 {
		in.recycle(in.blocks[0])
	}
	if len(in.blocks) == 0 {
		return nil
	}
	b := in.blocks[0]
	chunk := b.deliveries[b.taken:b.arrived]
	b.taken = b.arrived
	return chunk
}

// recycle gives the first block away if nothing in it is in use.
func (in *inbox) recycle(b *block) {
	if b.taken < b.arrived || in.filling && b.arrived < MaxChunk {
		return
	}
	b.arrived, b.taken = 0, 0
	in.blocks = slices.Delete(in.blocks, 0, 1)
	freeBlocks.Put(b)
}

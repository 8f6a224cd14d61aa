package pool

import "sync"

// inbox keeps deliveries that have arrived and have not been handed over: no more than the prefetch. It keeps them where the port has
// made them: a delivery has some 400 bytes, so that a queue of them would be the largest thing that an idle consumer leaves behind.
type inbox struct {
	more chan struct{} // something has arrived

	mu    sync.Mutex
	queue []*Delivery
	head  int // what is before has been taken
}

func newInbox() inbox { return inbox{more: make(chan struct{}, 1)} }

// put takes a delivery over.
func (in *inbox) put(d *Delivery) {
	in.mu.Lock()
	if len(in.queue) == cap(in.queue) && in.head >= len(in.queue)/2 {
		n := copy(in.queue, in.queue[in.head:])
		clear(in.queue[n:])
		in.queue, in.head = in.queue[:n], 0
	}
	in.queue = append(in.queue, d)
	in.mu.Unlock()
	select {
	case in.more <- struct{}{}:
	default:
	}
}

// take fills chunk with what is there, and returns how much that is.
func (in *inbox) take(chunk []Delivery, s *Session) (n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for n < len(chunk) && in.head < len(in.queue) {
		chunk[n] = *in.queue[in.head]
		chunk[n].Session = s
		in.queue[in.head] = nil
		in.head++
		n++
	}
	if in.head == len(in.queue) {
		in.queue, in.head = in.queue[:0], 0
	}
	return n
}

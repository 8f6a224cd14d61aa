package pool

import "slices"

// Limits of the acknowledgements that wait to be sent.
const (
	// ackBatch is how many contiguous deliveries one acknowledgement stands for, at most: what a
	// killed process has done and gets again.
	ackBatch = 64
	// ackShare is the part of the prefetch that may wait, so that the broker goes on delivering.
	ackShare = 4
	// compactAt is how many settled entries behind an unsettled one are kept before they are
	// removed.
	compactAt = 1024
)

// tracker knows what of one channel's deliveries is settled and what the broker knows of it. It is pure
// logic: it is told of tags and says which acknowledgements to send.
//
// Its memory is bounded by the prefetch, not by the distance between the oldest unsettled tag and
// the newest.
type tracker struct {
	entries   []tagged // in the order of tags; those before head are done with
	head      int
	low       uint64 // the last of the contiguous acknowledged tags that are to be sent
	pending   int    // how many these are
	behind    int    // acknowledged, not sent, and not contiguous
	unsettled int
	done      int // entries behind head that the broker has no longer
	batch     int // how many may be pending
	gap       int // how many may be behind
}

// tagged is a delivery and what became of it.
type tagged struct {
	tag  uint64
	fate fate
}

type fate uint8

const (
	open      fate = iota // not settled
	acked                 // settled; the broker does not know yet
	sent                  // the broker has it no longer
	abandoned             // settled; the broker is never to know
)

func newTracker(prefetch int) tracker {
	share := max(1, prefetch/ackShare)
	return tracker{batch: min(ackBatch, share), gap: share}
}

// add takes in a delivery that is handed over. Tags come in rising order.
func (t *tracker) add(tag uint64) {
	if t.head > 0 && t.head == len(t.entries) {
		t.entries, t.head = t.entries[:0], 0
	} else if t.head >= compactAt && t.head > len(t.entries)/2 {
		t.entries = append(t.entries[:0], t.entries[t.head:]...)
		t.head = 0
	}
	t.entries = append(t.entries, tagged{tag: tag})
	t.unsettled++
}

// settle records an outcome. It returns false for a tag that is not open. Rejected and requeued deliveries
// are taken for sent: the caller sends them at once.
func (t *tracker) settle(tag uint64, o Outcome) bool {
	i := t.find(tag)
	if i < 0 || t.entries[i].fate != open {
		return false
	}
	t.unsettled--
	switch o {
	case Ack:
		t.entries[i].fate = acked
		t.behind++
	case Reject, Requeue:
		t.entries[i].fate = sent
		t.done++
	default:
		t.entries[i].fate = abandoned
	}
	if i == t.head {
		t.advance()
	}
	t.compact()
	return true
}

// find returns the index of a tag, or -1.
func (t *tracker) find(tag uint64) int {
	live := t.entries[t.head:]
	if len(live) == 0 || tag < live[0].tag {
		return -1
	}
	// Tags are dense until something was compacted.
	if i := tag - live[0].tag; i < uint64(len(live)) && live[i].tag == tag {
		return t.head + int(i)
	}
	i, ok := slices.BinarySearchFunc(live, tag, func(e tagged, tag uint64) int {
		switch {
		case e.tag < tag:
			return -1
		case e.tag > tag:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return t.head + i
}

// advance moves the head over what is contiguous and done.
func (t *tracker) advance() {
	for ; t.head < len(t.entries); t.head++ {
		switch e := &t.entries[t.head]; e.fate {
		case acked:
			t.low = e.tag
			t.pending++
			t.behind--
		case sent:
			t.done--
		default:
			return
		}
	}
}

// compact removes what the broker has no longer from behind an entry that stays open for long.
func (t *tracker) compact() {
	live := len(t.entries) - t.head
	if t.done < compactAt || t.done < live/2 {
		return
	}
	kept := slices.DeleteFunc(t.entries[t.head:], func(e tagged) bool { return e.fate == sent })
	t.entries = append(t.entries[:0], kept...)
	t.head, t.done = 0, 0
}

// due reports that as much is waiting as may wait.
func (t *tracker) due() bool { return t.pending >= t.batch || t.behind > t.gap }

// waiting returns how many acknowledgements have not been sent.
func (t *tracker) waiting() int { return t.pending + t.behind }

// flush sends the contiguous acknowledgements as one; and with all, or when too many have gathered behind
// an open delivery, those one by one. A multiple acknowledgement never reaches over a tag that is open or
// abandoned. It returns how many deliveries and how many frames that were.
func (t *tracker) flush(all bool, ack func(tag uint64, multiple bool)) (n, frames int) {
	if t.pending > 0 {
		ack(t.low, t.pending > 1)
		n, frames = t.pending, 1
		t.pending = 0
	}
	if t.behind == 0 || (!all && t.behind <= t.gap) {
		return n, frames
	}
	for i := t.head; i < len(t.entries) && t.behind > 0; i++ {
		if e := &t.entries[i]; e.fate == acked {
			ack(e.tag, false)
			e.fate = sent
			t.behind--
			t.done++
			n++
			frames++
		}
	}
	t.compact()
	return n, frames
}

package pool

import "time"

// State is where a pool stands.
type State uint8

// The states of a pool. With several connections it is the state of the one that is furthest from ready.
const (
	// StateIdle is before Start.
	StateIdle State = iota
	// StateDialing has no connection, and tries.
	StateDialing
	// StateTopology declares the topology and runs the hooks.
	StateTopology
	// StateReady can consume and publish.
	StateReady
	// StateBlocked can consume; the broker blocks publishers.
	StateBlocked
	// StateFailed was refused for good (see Start).
	StateFailed
	// StateDraining is closing, and waits for confirms and settlements.
	StateDraining
	// StateClosed is closed.
	StateClosed
)

func (s State) String() string {
	names := [...]string{"idle", "dialing", "topology", "ready", "blocked", "failed", "draining", "closed"}
	if int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Stats is a snapshot of a pool's counters since Open.
type Stats struct {
	State     State
	Published uint64 // handed to a publishing channel
	Confirmed uint64
	Returned  uint64 // mandatory and not routed
	Nacked    uint64
	Unknown   uint64 // the connection went before the confirm
	Refused   uint64 // not sent: invalid, too large, no such exchange, no room in time, closed

	Delivered    uint64 // handed over to consumers
	Acked        uint64
	Rejected     uint64
	Requeued     uint64
	Abandoned    uint64
	AckFrames    uint64 // basic.ack frames sent: fewer than Acked when acks are batched
	StaleAcks    uint64 // settled after their channel had gone: dropped
	DoubleSettle uint64 // settled a second time, or never handed over: refused

	Connects    uint64        // connections made
	Reconnects  uint64        // of these, after a loss
	Blocked     uint64        // times that the broker blocked publishers
	BlockedTime time.Duration // in all
	InFlight    int           // published and not confirmed
	Unsettled   int           // handed over and not settled
}

package pool

import (
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

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
	Unreadable   uint64 // of these, with headers that cannot be read
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
	Leases      int           // held
}

// Add adds the counters of an earlier pool to s. What is so at the moment (State, InFlight, Unsettled, Leases) stays.
func (s *Stats) Add(o Stats) {
	for to, n := range map[*uint64]uint64{
		&s.Published: o.Published, &s.Confirmed: o.Confirmed, &s.Returned: o.Returned, &s.Nacked: o.Nacked, &s.Unknown: o.Unknown,
		&s.Refused: o.Refused, &s.Delivered: o.Delivered, &s.Unreadable: o.Unreadable, &s.Acked: o.Acked, &s.Rejected: o.Rejected,
		&s.Requeued: o.Requeued, &s.Abandoned: o.Abandoned, &s.AckFrames: o.AckFrames, &s.StaleAcks: o.StaleAcks,
		&s.DoubleSettle: o.DoubleSettle, &s.Connects: o.Connects, &s.Reconnects: o.Reconnects, &s.Blocked: o.Blocked,
	} {
		*to += n
	}
	s.BlockedTime += o.BlockedTime
}

// counters are what Stats is made of.
type counters struct {
	published, confirmed, returned, nacked, unknown, refused                  atomic.Uint64
	delivered, acked, rejected, requeued, abandoned, ackFrames, stale, double atomic.Uint64
	connects, reconnects, blocked, unreadable                                 atomic.Uint64
	unsettled, leases                                                         atomic.Int64
}

// blockage measures how long the broker has blocked publishers.
type blockage struct {
	mu    sync.Mutex
	now   int // connections that are blocked
	since time.Time
	total time.Duration
}

func (b *blockage) change(active bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if active {
		if b.now++; b.now == 1 {
			b.since = time.Now()
		}
		return
	}
	if b.now--; b.now == 0 {
		b.total += time.Since(b.since)
	}
}

func (b *blockage) sum() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now > 0 {
		return b.total + time.Since(b.since)
	}
	return b.total
}

// blockedChanged is called when the broker blocks publishers, and when it does no longer.
func (p *Pool) blockedChanged(g *generation, b amqp.Blocking) {
	p.blockage.change(b.Active)
	if b.Active {
		p.counters.blocked.Add(1)
		p.log.Warn("the broker blocks publishers", "reason", b.Reason)
	} else if !g.lost() {
		p.log.Info("the broker takes messages again")
	}
	p.stateChanged()
	p.wakeLanes()
}

// State returns where the pool stands.
func (p *Pool) State() State {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	return p.stateLocked()
}

// Trouble returns why a connection of the pool was lost or does not come about; nil where all are up, or have not been tried yet.
func (p *Pool) Trouble() error {
	for _, l := range p.links() {
		l.mu.Lock()
		err := l.trouble
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) stateLocked() State {
	if p.over != StateIdle {
		return p.over
	}
	state := StateReady
	for _, l := range p.links() {
		switch s := l.stateNow(); {
		case s == StateFailed:
			return StateFailed
		case s == StateBlocked:
			if state == StateReady {
				state = StateBlocked
			}
		case s < state:
			state = s
		}
	}
	return state
}

// stateNow returns the state of one connection.
func (l *link) stateNow() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == StateReady && l.gen != nil && l.gen.blocked() {
		return StateBlocked
	}
	return l.state
}

func (p *Pool) setOver(s State) {
	p.stateMu.Lock()
	p.over = s
	p.stateMu.Unlock()
	p.stateChanged()
}

// stateChanged tells the observer, if the state has really changed.
func (p *Pool) stateChanged() {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	s := p.stateLocked()
	if s == p.reported {
		return
	}
	p.reported = s
	if p.opts.OnState != nil {
		p.opts.OnState(s)
	}
}

// Stats returns a snapshot of the counters.
func (p *Pool) Stats() Stats {
	c := &p.counters
	s := Stats{
		State:     p.State(),
		Published: c.published.Load(),
		Confirmed: c.confirmed.Load(),
		Returned:  c.returned.Load(),
		Nacked:    c.nacked.Load(),
		Unknown:   c.unknown.Load(),
		Refused:   c.refused.Load(),

		Delivered:    c.delivered.Load(),
		Unreadable:   c.unreadable.Load(),
		Acked:        c.acked.Load(),
		Rejected:     c.rejected.Load(),
		Requeued:     c.requeued.Load(),
		Abandoned:    c.abandoned.Load(),
		AckFrames:    c.ackFrames.Load(),
		StaleAcks:    c.stale.Load(),
		DoubleSettle: c.double.Load(),

		Connects:    c.connects.Load(),
		Reconnects:  c.reconnects.Load(),
		Blocked:     c.blocked.Load(),
		BlockedTime: p.blockage.sum(),
		Unsettled:   int(c.unsettled.Load()),
		Leases:      int(c.leases.Load()),
	}
	for _, l := range p.lanes {
		s.InFlight += l.inFlight()
	}
	return s
}

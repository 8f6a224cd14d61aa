package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"
)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 30 * time.Second
)

// Pool is a set of connections to one broker and virtual host. Its methods are safe to call from many
// goroutines.
type Pool struct {
	opts      Options
	addresses []address
	log       *slog.Logger

	listen  []*link
	publish []*link
	lanes   []*lane
	gets    *getter
	leases  leases

	requests *requests

	ctx      context.Context // of everything in the background
	cancel   context.CancelFunc
	draining context.Context // ends when Close begins
	drain    context.CancelFunc
	kill     chan struct{} // closed when Close stops waiting
	closed   chan struct{} // closed when Close is done
	wg       conc.WaitGroup

	mu         sync.Mutex
	started    bool
	closing    bool
	closeErr   error
	consumers  int
	noConsumer chan struct{} // closed when consumers is 0 while closing
	publishers int
	waiting    []*lane // lanes that are wanted, until Start
	topology   []*TopologyError
	applied    time.Time // when the topology was last begun to be applied

	setup  sync.Mutex // one application of the topology at a time
	deadly sync.Map   // entity key → *TopologyError: closed the connection when declared

	stateMu  sync.Mutex
	reported State
	over     State // StateDraining and StateClosed once Close has begun

	generations atomic.Uint64
	tags        atomic.Uint64 // consumers, for their tags
	spread      atomic.Uint64 // consumers, over connections
	counters    counters
	plain       struct { // what Publish uses
		once      sync.Once
		publisher *Publisher
	}
	blockage blockage

	backoffMin, backoffMax time.Duration
}

// Open checks the options and returns a pool; it does not dial. Every mistake in the options is
// reported, joined.
func Open(o Options) (*Pool, error) {
	addresses, err := o.complete()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		opts: o, addresses: addresses, log: o.Logger.With("pool", o.Name),
		kill: make(chan struct{}), closed: make(chan struct{}),
		noConsumer: make(chan struct{}),
		backoffMin: backoffMin, backoffMax: backoffMax,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.draining, p.drain = context.WithCancel(p.ctx)
	p.gets, p.requests = newGetter(p), newRequests(p)
	for i := range o.Listen.Connections {
		p.listen = append(p.listen, newLink(p, true, i))
	}
	for i := range o.Publish.Connections {
		p.publish = append(p.publish, newLink(p, false, i))
	}
	p.leases.free = make(chan *lane, o.Publish.Leases)
	for i := range o.Publish.Channels + o.Publish.Leases {
		l := newLane(p, p.publish[i%len(p.publish)])
		p.lanes = append(p.lanes, l)
		if i >= o.Publish.Channels {
			p.leases.free <- l
		}
	}
	return p, nil
}

// Start dials in the background, for ever and with growing pauses, until Close. It returns when every
// connection is up, the topology was declared and the hooks have run; with a [*ConnectError] when the
// broker refuses for good; with a hook's error; or with an error that wraps the cause of ctx when that
// ends first, while dialling goes on. Entities that could not be declared do not make it fail:
// see TopologyErrors. A second call waits for the same thing.
func (p *Pool) Start(ctx context.Context) error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return ErrClosed
	}
	if !p.started {
		p.started = true
		for _, l := range p.links() {
			p.wg.Go(func() { l.run(p.ctx) })
		}
		for _, l := range p.waiting {
			p.wg.Go(func() { l.run(p.ctx) })
		}
		p.waiting = nil
	}
	p.mu.Unlock()
	for _, l := range p.links() {
		if _, err := l.wait(ctx); err != nil {
			return fmt.Errorf("start pool %q: %w", p.opts.Name, err)
		}
	}
	return nil
}

func (p *Pool) links() []*link {
	return append(append(make([]*link, 0, len(p.listen)+len(p.publish)), p.listen...), p.publish...)
}

// spawn runs f in a goroutine of the pool's, unless the pool is not running.
func (p *Pool) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started || p.ctx.Err() != nil {
		return false
	}
	p.wg.Go(f)
	return true
}

// spawnWhenStarted runs a lane, now or when the pool is started.
func (p *Pool) spawnWhenStarted(l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ctx.Err() != nil:
	case p.started:
		p.wg.Go(func() { l.run(p.ctx) })
	default:
		p.waiting = append(p.waiting, l)
	}
}

// Close stops consumers and publishers, waits until outstanding confirms and settlements are in or ctx
// ends, and closes the connections. It returns an error when something was still outstanding. It never
// hangs, however the broker behaves. A second call waits for the same thing.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		<-p.closed
		return p.closeErr
	}
	p.closing = true
	if p.consumers == 0 {
		close(p.noConsumer)
	}
	p.mu.Unlock()
	p.drain()
	p.setOver(StateDraining)
	p.closeErr = p.drained(ctx)
	p.leases.abandoned(p.log)
	for _, l := range p.lanes {
		l.fail(ErrClosed)
	}
	close(p.kill)
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait()
	p.setOver(StateClosed)
	close(p.closed)
	return p.closeErr
}

// drained waits for consumers and publishers to finish, or for ctx.
func (p *Pool) drained(ctx context.Context) error {
	select {
	case <-p.noConsumer:
	case <-ctx.Done():
		return p.outstanding(ctx)
	}
	if !p.gets.drain(ctx) {
		return p.outstanding(ctx)
	}
	for _, l := range p.lanes {
		if !l.drain(ctx) {
			return p.outstanding(ctx)
		}
	}
	return nil
}

func (p *Pool) outstanding(ctx context.Context) error {
	s := p.Stats()
	leases := ""
	if s.Leases > 0 {
		leases = "; " + p.leases.holders()
	}
	return fmt.Errorf("close pool %q: %d messages are unconfirmed and %d deliveries unsettled%s: %w",
		p.opts.Name, s.InFlight, s.Unsettled, leases, context.Cause(ctx))
}

// enter and leave count consumers.
func (p *Pool) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return ErrClosed
	}
	p.consumers++
	return nil
}

func (p *Pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.consumers--
	if p.closing && p.consumers == 0 {
		close(p.noConsumer)
	}
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.opts.Name }

// String returns the pool's name and addresses, without passwords.
func (p *Pool) String() string { return fmt.Sprintf("pool %q at %s", p.opts.Name, p.Redacted()) }

// GoString is String: %#v does not show passwords either.
func (p *Pool) GoString() string { return p.String() }

// Redacted returns the pool's addresses without passwords, for messages.
func (p *Pool) Redacted() string {
	urls := make([]string, len(p.addresses))
	for i, a := range p.addresses {
		urls[i] = a.redacted()
	}
	return strings.Join(urls, ", ")
}

// Server returns the host and the port of the pool's address; "" and 0 where it has several to choose from.
func (p *Pool) Server() (host string, port int) {
	if len(p.addresses) != 1 {
		return "", 0
	}
	return p.addresses[0].uri.Host, p.addresses[0].uri.Port
}

func (p *Pool) connectionName(link string) string {
	return p.opts.Program + " " + p.opts.Name + " " + link
}

// Declare applies the topology now. It returns nil, or an error that joins one [*TopologyError] for each
// entity that failed; what does not depend on those has been declared.
func (p *Pool) Declare(ctx context.Context) error {
	g, err := p.listen[0].wait(ctx)
	if err != nil {
		return fmt.Errorf("declare the topology: %w", err)
	}
	if err := p.applyTopology(ctx, g); err != nil {
		return err
	}
	return joinTopology(p.TopologyErrors())
}

// Topology returns what the pool declares.
func (p *Pool) Topology() Topology {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts.Topology
}

// AddTopology adds to what the pool declares; what it has already stays as it is. It must be called before Start.
func (p *Pool) AddTopology(t Topology) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		return fmt.Errorf("add to the topology of pool %q: it has been started", p.opts.Name)
	}
	have := map[string]bool{}
	for _, e := range p.opts.Topology.entities() {
		have[e.key()+" "+e.asked] = true
	}
	isNew := func(e *entity) bool { return !have[e.key()+" "+e.asked] }
	all := Topology{
		Exchanges: slices.Clone(p.opts.Topology.Exchanges), Queues: slices.Clone(p.opts.Topology.Queues), Bindings: slices.Clone(p.opts.Topology.Bindings),
	}
	for _, e := range t.Exchanges {
		if isNew(e.entity()) {
			all.Exchanges = append(all.Exchanges, e)
		}
	}
	for _, q := range t.Queues {
		if isNew(q.entity()) {
			all.Queues = append(all.Queues, q)
		}
	}
	for _, b := range t.Bindings {
		if isNew(b.entity()) {
			all.Bindings = append(all.Bindings, b)
		}
	}
	if err := all.check(); err != nil {
		return err
	}
	p.opts.Topology = all
	return nil
}

// TopologyErrors returns what failed when the topology was last applied.
func (p *Pool) TopologyErrors() []*TopologyError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topology
}

// applyTopology declares everything on g and remembers what failed. Its error is one of the
// connection's.
func (p *Pool) applyTopology(ctx context.Context, g *generation) error {
	p.setup.Lock()
	defer p.setup.Unlock()
	return p.applyLocked(ctx, g)
}

func (p *Pool) applyLocked(ctx context.Context, g *generation) error {
	began := time.Now()
	failed, err := p.declare(ctx, g, &p.opts.Topology)
	if err != nil {
		return err
	}
	for _, f := range failed {
		p.log.Error("cannot declare the topology", "error", f)
	}
	p.mu.Lock()
	p.topology, p.applied = failed, began
	p.mu.Unlock()
	return nil
}

// ensureTopology returns when the topology has been applied since g was opened: after a restart of the
// broker the first connection may be back before the one that declares.
func (p *Pool) ensureTopology(ctx context.Context, g *generation) error {
	for {
		first, err := p.listen[0].wait(ctx)
		if err != nil {
			return err
		}
		if p.applySince(ctx, first, g.born) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !pause(ctx, p.backoffMin) {
			return context.Cause(ctx)
		}
	}
}

func (p *Pool) applySince(ctx context.Context, g *generation, since time.Time) error {
	p.setup.Lock()
	defer p.setup.Unlock()
	p.mu.Lock()
	applied := p.applied
	p.mu.Unlock()
	if applied.After(since) {
		return nil
	}
	return p.applyLocked(ctx, g)
}

// WithoutTopology returns another pool for the same broker, with the same options, that declares nothing and runs no hooks. It is
// started and closed for itself.
func (p *Pool) WithoutTopology() (*Pool, error) {
	o := p.opts
	o.Topology, o.OnStart, o.OnState = Topology{}, nil, nil
	return Open(o)
}

// Channel runs f with a channel of the listen connection, which is closed afterwards: for what else there is to ask a broker. An error
// that closes the channel closes nothing else. It waits for a connection until ctx ends; f must not be kept waiting for long.
func (p *Pool) Channel(ctx context.Context, f func(*amqp.Channel) error) error {
	g, err := p.listen[0].wait(ctx)
	if err != nil {
		return err
	}
	c := &scratch{g: g}
	defer c.close()
	return c.do(f)
}

// Setup is what an OnStart hook works with; it is valid until the hook returns.
type Setup struct {
	pool *Pool
	gen  *generation
}

// Declare declares more topology, as [Pool.Declare] does.
func (s *Setup) Declare(ctx context.Context, t Topology) error {
	if err := t.check(); err != nil {
		return err
	}
	failed, err := s.pool.declare(ctx, s.gen, &t)
	return errors.Join(joinTopology(failed), err)
}

// Channel runs f with a channel of the listen connection, which is closed afterwards. An error closes
// nothing else, unless the broker closes the connection over it.
func (s *Setup) Channel(f func(*amqp.Channel) error) error {
	c := &scratch{g: s.gen}
	defer c.close()
	return c.do(f)
}

// hookError is an error of an OnStart hook.
type hookError struct {
	index int
	err   error
}

func (e *hookError) Error() string { return fmt.Sprintf("run start hook %d: %v", e.index+1, e.err) }
func (e *hookError) Unwrap() error { return e.err }

func (p *Pool) runHooks(ctx context.Context, g *generation) error {
	for i, hook := range p.opts.OnStart {
		if err := hook(ctx, &Setup{pool: p, gen: g}); err != nil {
			if g.lost() || ctx.Err() != nil {
				return fmt.Errorf("run start hook %d: %w", i+1, err)
			}
			return &hookError{i, err}
		}
	}
	return nil
}

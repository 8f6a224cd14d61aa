package pool

import "context"

// Pool is a set of connections to one broker and virtual host. Its methods are safe to call from many
// goroutines.
type Pool struct {
	opts Options
}

// Open checks the options and returns a pool; it does not dial. Every mistake in the options is
// reported, joined.
func Open(o Options) (*Pool, error) { return &Pool{opts: o}, nil }

// Start dials in the background, for ever and with growing pauses, until Close. It returns when every
// connection is up, the topology was declared and the hooks have run; with a [*ConnectError] when the
// broker refuses for good; with a hook's error; or with an error that wraps the cause of ctx when that
// ends first, while dialling goes on. Entities that could not be declared do not make it fail:
// see TopologyErrors. A second call waits for the same thing.
func (p *Pool) Start(ctx context.Context) error { return nil }

// Close stops consumers and publishers, waits until outstanding confirms and settlements are in or ctx
// ends, and closes the connections. It returns an error when something was still outstanding. It never
// hangs, however the broker behaves. A second call waits for the same thing.
func (p *Pool) Close(ctx context.Context) error { return nil }

// State returns where the pool stands.
func (p *Pool) State() State { return 0 }

// Stats returns a snapshot of the counters.
func (p *Pool) Stats() Stats { return Stats{} }

// Name returns the pool's name.
func (p *Pool) Name() string { return p.opts.Name }

// Redacted returns the pool's addresses without passwords, for messages.
func (p *Pool) Redacted() string { return "" }

// Declare applies the topology now. It returns nil, or an error that joins one [*TopologyError] for each
// entity that failed; what does not depend on those has been declared.
func (p *Pool) Declare(ctx context.Context) error { return nil }

// TopologyErrors returns what failed when the topology was last applied.
func (p *Pool) TopologyErrors() []*TopologyError { return nil }

// Setup is what an OnStart hook works with; it is valid until the hook returns.
type Setup struct{}

// Declare declares more topology, as [Pool.Declare] does.
func (s *Setup) Declare(ctx context.Context, t Topology) error { return nil }

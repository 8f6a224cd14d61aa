package pool

import (
	"context"
	"maps"
	"slices"
)

// propagate writes the trace context and the baggage of ctx to the headers of m, into a copy of the table. Without a propagator it does
// nothing.
func (p *Pool) propagate(ctx context.Context, m *Publishing) {
	if p.opts.Propagator == nil {
		return
	}
	headers := maps.Clone(m.table())
	if headers == nil {
		headers = Table{}
	}
	p.opts.Propagator.Inject(ctx, carrier(headers))
	if len(headers) > 0 {
		m.Headers, m.Encoded = headers, EncodedTable{}
	}
}

// Context returns ctx with the trace context and the baggage that the headers carry, as far as the pool's Propagator can read them; ctx
// itself without one.
func (d *Delivery) Context(ctx context.Context) context.Context {
	if d.Session == nil || d.Session.pool.opts.Propagator == nil {
		return ctx
	}
	return d.Session.pool.opts.Propagator.Extract(ctx, carrier(d.table()))
}

// carrier is a table for a propagator. A header that is no text is as good as none.
type carrier Table

func (c carrier) Get(key string) string {
	switch v := c[key].(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func (c carrier) Set(key, value string) { c[key] = value }

func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c)) }

package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// settled is how long a connection must have lasted for the pauses between dials to start anew.
	settled = 5 * time.Second
	// goodbye bounds the closing handshake.
	goodbye = 2 * time.Second
)

// link is one named connection of a pool's: it keeps one generation after another.
type link struct {
	pool   *Pool
	name   string // "listen 0"
	listen bool
	index  int

	mu      sync.Mutex
	gen     *generation // nil while there is none that is ready
	state   State
	err     error // refused for good
	trouble error // why the last connection was lost, or did not come about; nil while there is one
	changed chan struct{}
}

func newLink(p *Pool, listen bool, index int) *link {
	kind := "publish"
	if listen {
		kind = "listen"
	}
	return &link{pool: p, name: fmt.Sprintf("%s %d", kind, index), listen: listen, index: index, changed: make(chan struct{})}
}

// wait returns the ready generation as soon as there is one, or an error when the broker refused for
// good or ctx ended.
func (l *link) wait(ctx context.Context) (*generation, error) {
	for {
		l.mu.Lock()
		g, err, changed := l.gen, l.err, l.changed
		l.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case g != nil && !g.lost():
			return g, nil
		case g != nil:
			// It is about to be taken away.
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *link) set(g *generation, state State, err error) {
	l.mu.Lock()
	l.gen, l.state, l.err = g, state, err
	if err != nil || state == StateReady {
		l.trouble = err
	}
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	l.pool.stateChanged()
}

// fails notes why there is no connection.
func (l *link) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = err
}

// run keeps the link up until ctx ends or the broker refuses us at the start.
func (l *link) run(ctx context.Context) {
	pauses := backoff{min: l.pool.backoffMin, max: l.pool.backoffMax}
	for first := true; ctx.Err() == nil; first = false {
		l.set(nil, StateDialing, nil)
		g, err := l.connect(ctx, &pauses, first)
		if err != nil {
			l.refused(ctx, err)
			return
		}
		if err := l.serve(ctx, g, first); err != nil {
			l.refused(ctx, err)
			return
		}
		if time.Since(g.born) > settled {
			pauses.reset()
		}
		if !pause(ctx, pauses.next()) {
			break
		}
	}
	l.refused(ctx, nil)
}

// refused ends the link: for good, or because the pool is closing.
func (l *link) refused(ctx context.Context, err error) {
	if ctx.Err() != nil {
		l.set(nil, StateClosed, ErrClosed)
		return
	}
	l.set(nil, StateFailed, err)
	l.pool.log.Error("giving up a connection: the broker refuses it", "connection", l.name, "error", err)
}

// connect dials until there is a connection. It returns an error when ctx ended, or when the broker refuses us at the first start: a
// user or virtual host is wrong then. A broker that had let us in may have it put right: it is asked again, for ever.
func (l *link) connect(ctx context.Context, pauses *backoff, first bool) (*generation, error) {
	for {
		g, err := l.pool.dial(ctx, l.pool.connectionName(l.name))
		if err == nil {
			l.pool.counters.connects.Add(1)
			return g, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var refused *ConnectError
		if first && errors.As(err, &refused) {
			return nil, err
		}
		l.fails(err)
		d := pauses.next()
		l.pool.log.Warn("cannot connect to the broker; trying again", "connection", l.name, "retry_in", d.Round(time.Millisecond), "error", err)
		if !pause(ctx, d) {
			return nil, context.Cause(ctx)
		}
	}
}

// serve makes the connection ready and stays until it is lost. It returns an error only from a first
// start that a hook has aborted.
func (l *link) serve(ctx context.Context, g *generation, first bool) error {
	l.set(nil, StateTopology, nil)
	if err := l.prepare(ctx, g); err != nil {
		g.close(goodbye)
		var hook *hookError
		if first && errors.As(err, &hook) {
			return err
		}
		if ctx.Err() == nil {
			l.fails(err)
			l.pool.log.Warn("cannot set up the connection; trying again", "connection", l.name, "error", err)
		}
		return nil
	}
	if !first {
		l.pool.counters.reconnects.Add(1)
	}
	l.set(g, StateReady, nil)
	l.pool.log.Info("connected to the broker", "connection", l.name, "url", g.url)
	select {
	case <-g.ctx.Done():
		err := context.Cause(g.ctx)
		l.fails(err)
		l.set(nil, StateDialing, nil)
		l.pool.log.Warn("lost the connection to the broker; connecting again", "connection", l.name, "error", err)
		g.end(err)
	case <-ctx.Done():
		l.set(nil, StateDraining, nil)
		g.close(goodbye)
	}
	return nil
}

// prepare does what must be done before anything flows on a new connection.
func (l *link) prepare(ctx context.Context, g *generation) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	defer stop()
	if !l.listen || l.index > 0 {
		return l.pool.ensureTopology(ctx, g)
	}
	if err := l.pool.applyTopology(ctx, g); err != nil {
		return err
	}
	return l.pool.runHooks(ctx, g)
}

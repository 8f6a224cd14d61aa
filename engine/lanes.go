package engine

import (
	"hash/maphash"
	"sync"

	"github.com/sourcegraph/conc"
	"github.com/sourcegraph/conc/pool"
	"github.com/sourcegraph/conc/stream"
)

// lanes take entries through the stages and send what they become, in the order that the pipeline
// promises. take returns when there is room for more; it is called by the source and by the clock.
type lanes interface {
	take(entries []*entry)
	// close waits for everything taken.
	close()
}

func newLanes(r *run, p *Pipeline) lanes {
	if p.Concurrency <= 1 {
		return &inlineLane{run: r, w: newWorker(r)}
	}
	workers := &workers{run: r, stopAt: r.graph.firstAggregator()}
	switch p.Order {
	case OrderNone:
		return &freeLanes{workers: workers, turn: newTurn(), pool: pool.New().WithMaxGoroutines(p.Concurrency)}
	case OrderByKey:
		return newKeyedLanes(workers, p)
	default:
		return &orderedLanes{workers: workers, turn: newTurn(), stream: stream.New().WithMaxGoroutines(p.Concurrency)}
	}
}

// turn is a lock that is held while messages are at work, which can be long: until a sink has room.
// It is a channel, so that package synctest knows who waits.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }
func (t turn) pass() { <-t }

// inlineLane works where the messages arrive, with no hop to another goroutine.
type inlineLane struct {
	run *run
	w   *worker
}

func (l *inlineLane) take(entries []*entry) {
	l.run.turn.take()
	defer l.run.turn.pass()
	for i, e := range entries {
		l.w.ahead = len(entries) - i
		l.w.process(e)
	}
	l.w.flush()
}

func (l *inlineLane) close() {}

// workers keeps workers for lanes that run in several goroutines. A stage that makes groups, and all after
// it, then runs in the run's turn.
type workers struct {
	run    *run
	stopAt int
	pool   sync.Pool
}

func (ws *workers) get() *worker {
	if w, ok := ws.pool.Get().(*worker); ok {
		return w
	}
	w := newWorker(ws.run)
	w.stopAt = ws.stopAt
	return w
}

// finish sends what a worker has collected, and keeps the worker.
func (ws *workers) finish(w *worker) {
	if ws.stopAt >= 0 {
		ws.run.turn.take()
		w.resume()
		w.flush()
		ws.run.turn.pass()
	} else {
		w.flush()
	}
	ws.pool.Put(w)
}

// orderedLanes run stages side by side and send in arrival order.
type orderedLanes struct {
	*workers
	turn   turn
	stream *stream.Stream
}

func (l *orderedLanes) take(entries []*entry) {
	l.turn.take()
	defer l.turn.pass()
	for _, e := range entries {
		l.stream.Go(func() stream.Callback {
			w := l.get()
			w.process(e)
			return func() { l.finish(w) }
		})
	}
}

func (l *orderedLanes) close() { l.stream.Wait() }

// freeLanes let messages overtake each other.
type freeLanes struct {
	*workers
	turn turn
	pool *pool.Pool
}

func (l *freeLanes) take(entries []*entry) {
	l.turn.take()
	defer l.turn.pass()
	for _, e := range entries {
		l.pool.Go(func() {
			w := l.get()
			w.process(e)
			l.finish(w)
		})
	}
}

func (l *freeLanes) close() { l.pool.Wait() }

// keyedLanes give each key a lane, and keep order within a lane.
type keyedLanes struct {
	*workers
	key   func(*Message) (string, error)
	seed  maphash.Seed
	lanes []chan *entry
	wg    conc.WaitGroup
}

func newKeyedLanes(ws *workers, p *Pipeline) *keyedLanes {
	l := &keyedLanes{
		workers: ws, key: p.OrderKey, seed: maphash.MakeSeed(),
		lanes: make([]chan *entry, p.Concurrency),
	}
	for i := range l.lanes {
		lane := make(chan *entry, MaxChunk)
		l.lanes[i] = lane
		l.wg.Go(func() { l.serve(lane) })
	}
	return l
}

func (l *keyedLanes) serve(lane chan *entry) {
	for e := range lane {
		w := l.get()
		w.process(e)
		l.finish(w)
	}
}

func (l *keyedLanes) take(entries []*entry) {
	for _, e := range entries {
		key, err := l.keyOf(e.message)
		if err != nil {
			e.fail(newFailure(err, "order_by", e.attempt, nil))
			e.release()
			continue
		}
		l.lanes[maphash.String(l.seed, key)%uint64(len(l.lanes))] <- e
	}
}

func (l *keyedLanes) keyOf(m *Message) (key string, err error) {
	defer rescue(&err)
	return l.key(m)
}

func (l *keyedLanes) close() {
	for _, lane := range l.lanes {
		close(lane)
	}
	l.wg.Wait()
}

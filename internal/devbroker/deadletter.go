package devbroker

import (
	"slices"
	"strconv"
	"time"
)

// expiration returns the time to live that a message asks for.
func expiration(m *message) (time.Duration, bool) {
	if m.properties.flags&hasExpiration == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(m.properties.expiration, 10, 32)
	return time.Duration(n) * time.Millisecond, err == nil
}

// Dead letters may go into a queue that is full, and so bring about others: for ever, in a circle of such queues, and ever more of them, where
// an exchange brings each to several. RabbitMQ would work on that without an end. Here it has one.
const (
	maxDeaths    = 64      // brought about by one
	maxDeathsAll = 100_000 // and by all that one frame of a client, or a timer, ends
)

// mayDie reports whether one more dead letter may come of another.
func (v *vhost) mayDie() bool {
	if v.dying == 0 {
		v.deaths = 0
		return true
	}
	v.deaths++
	v.server.deaths++
	return v.deaths <= maxDeaths && v.server.deaths <= maxDeathsAll
}

// deadLetter publishes a message to the queue's dead-letter exchange, if it has one.
func (q *queue) deadLetter(was *message, reason string) {
	if q.dlx == nil {
		return
	}
	x := q.vhost.exchanges[*q.dlx]
	if x == nil || !q.vhost.mayDie() {
		return
	}
	q.vhost.dying++
	defer func() { q.vhost.dying-- }()
	m := *was
	m.exchange = x.name
	note(&m.properties, was, q.name, reason)
	if q.dlxKey != nil {
		m.key = *q.dlxKey
		m.properties.dropHeader("CC") // the copies have done their work
	}
	m.properties.dropHeader("BCC")
	m.weigh()
	for _, to := range q.vhost.route(x, &m) {
		if reason != "rejected" && inCircle(&m.properties, to.name) {
			continue
		}
		to.publish(&m)
	}
}

// inCircle reports that a message has been dead-lettered from that queue before, and never because somebody rejected it.
func inCircle(p *properties, queue string) bool {
	list, _ := p.headers.get("x-death")
	deaths, _ := list.([]any)
	been := false
	for _, d := range deaths {
		t, _ := d.(table)
		if r, _ := t.get("reason"); r == "rejected" {
			return false
		}
		if name, _ := t.get("queue"); name == queue {
			been = true
		}
	}
	return been
}

// note writes a death into the headers: x-death has one entry for each queue and reason, the last one first.
func note(p *properties, was *message, queue, reason string) {
	list, _ := p.headers.get("x-death")
	deaths, _ := list.([]any)
	deaths = slices.Clone(deaths)
	keys := []any{was.key}
	for _, k := range copies(was.properties.headers) {
		keys = append(keys, k)
	}
	death := table{
		{"count", int64(1)},
		{"reason", reason},
		{"queue", queue},
		{"time", time.Now().Truncate(time.Second)},
		{"exchange", was.exchange},
		{"routing-keys", keys},
	}
	if p.flags&hasExpiration != 0 {
		death = append(death, field{"original-expiration", p.expiration})
		p.flags &^= hasExpiration
		p.expiration = ""
	}
	first := len(deaths) == 0
	at := slices.IndexFunc(deaths, func(d any) bool {
		t, _ := d.(table)
		q, _ := t.get("queue")
		r, _ := t.get("reason")
		return q == queue && r == reason
	})
	if at >= 0 {
		old := deaths[at].(table)
		n, _ := old.get("count")
		count, _ := integer(n)
		death = old.set("count", count+1)
		deaths = slices.Delete(deaths, at, at+1)
	}
	p.setHeader("x-death", append([]any{death}, deaths...))
	if first {
		p.setHeader("x-first-death-exchange", was.exchange)
		p.setHeader("x-first-death-queue", queue)
		p.setHeader("x-first-death-reason", reason)
	}
}

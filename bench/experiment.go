package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// experiment is a comparison of contenders. The first is what the others are compared with.
type experiment struct {
	name, about string
	contenders  []contender
	rounds      int
	rate        int // messages a second, where they come at a constant rate
	columns     []string
	run         func(context.Context, *experiment) (*table, error)
}

// quick are the workloads that are measured unless everything is asked for, or something by name.
var quick = []string{"passthrough 1 kB", "filter+map+route 1 kB"}

// experiments returns those that are asked for.
func (b *bench) experiments() (wanted []*experiment, err error) {
	all, err := b.everything()
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if named := b.only.String() != ""; named && b.only.MatchString(e.name) || !named && (b.full || slices.Contains(quick, e.name)) {
			wanted = append(wanted, e)
		}
	}
	if len(wanted) == 0 {
		return nil, errors.New("no experiment has such a name")
	}
	return wanted, nil
}

func (b *bench) everything() (all []*experiment, err error) {
	drains := []string{cpuColumn, brokerColumn, rateColumn, rssColumn}
	add := func(name, about string, columns []string, rounds int, contenders []contender, failed error) {
		err = errors.Join(err, failed)
		all = append(all, &experiment{name: name, about: about, contenders: contenders, rounds: rounds, columns: columns, run: b.drains})
	}
	for _, w := range workloads {
		contenders, failed := b.all(w)
		add(w.name, w.about, drains, b.rounds, contenders, failed)
	}
	contenders, failed := b.many()
	add("many pipelines", "the same messages through 1, 10 and 100 pipelines of one process", drains, b.rounds, contenders, failed)
	contenders, failed = b.tracing()
	add("tracing", "passthrough 1 kB with spans exported over HTTP", drains, b.rounds, contenders, failed)
	contenders, failed = b.queued()
	add("long queue", "passthrough 1 kB, a short queue and a long one", drains, 1, contenders, failed)
	contenders, failed = b.starting()
	add("start", "from the start of the process to the first message in its queue", []string{wallColumn}, 3*b.rounds, contenders, failed)
	for _, rate := range []int{1000, 4000} {
		contenders, failed := b.steadily(rate)
		err = errors.Join(err, failed)
		all = append(all, &experiment{
			name: fmt.Sprintf("latency at %d/s", rate), about: "from the moment a 1 kB message is due to its arrival behind the contender",
			contenders: contenders, rounds: b.rounds, rate: rate,
			columns: []string{"p50, ms", "p95, ms", "p99, ms", "p99.9, ms", "most, ms", cpuColumn}, run: b.latencies,
		})
	}
	return all, err
}

// steadily are contenders for fifteen seconds at a rate, or for as many messages as are asked for.
func (b *bench) steadily(rate int) ([]contender, error) {
	n := min(15*rate, b.messages)
	if b.full {
		n = 15 * rate
	}
	c, err := b.pipe(thePipe, b.pipes[0].file, passthrough1k, n)
	return []contender{b.loop(theLoop, passthrough1k, n), c}, err
}

// brokerVersion asks the broker.
func brokerVersion(url string) (string, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return fmt.Sprint(conn.Properties["version"]), nil
}

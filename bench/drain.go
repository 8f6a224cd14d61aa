package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// drain is what one contender did in one round.
type drain struct {
	cpu  time.Duration // user and system, from the kernel
	node time.Duration // the same of the broker, meanwhile
	wall time.Duration // from the start of the process to the last message in its queue
	rss  int64         // peak, bytes
}

// inTurn lets the contenders work in turn, the first in one round being the last in the next. work returns what to say of it.
func (b *bench) inTurn(ctx context.Context, e *experiment, work func(*table, *contender) (string, error)) (*table, error) {
	t := newTable(e, b)
	for i := range e.contenders {
		if err := b.declare(ctx, &e.contenders[i]); err != nil {
			return nil, err
		}
	}
	for round := range e.rounds {
		order := slices.Clone(e.contenders)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for i := range order {
			said, err := work(t, &order[i])
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", order[i].name, round+1, err)
			}
			fmt.Fprintf(os.Stderr, "%s, round %d of %d, %s: %s\n", e.name, round+1, e.rounds, order[i].name, said)
		}
	}
	return t, nil
}

// drains lets the contenders drain full queues.
func (b *bench) drains(ctx context.Context, e *experiment) (*table, error) {
	return b.inTurn(ctx, e, func(t *table, c *contender) (string, error) {
		d, err := b.one(ctx, c)
		if err != nil {
			return "", err
		}
		n := float64(c.n)
		cpu, rate := float64(d.cpu.Microseconds())/n, n/d.wall.Seconds()
		t.add(c.name, cpuColumn, cpu)
		t.add(c.name, rateColumn, rate)
		t.add(c.name, brokerColumn, float64(d.node.Microseconds())/n)
		t.add(c.name, rssColumn, float64(d.rss)/1e6)
		t.add(c.name, wallColumn, float64(d.wall.Microseconds())/1e3)
		return fmt.Sprintf("%.1f CPU-µs a message, %.0f messages/s", cpu, rate), nil
	})
}

// declare makes the queues of a workload, as its pipeline file says.
func (b *bench) declare(ctx context.Context, c *contender) error {
	file, err := b.file(&c.w)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.pipes[0].file, "declare", file)
	cmd.Env = append(os.Environ(), urlVariable+"="+b.url)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("declare: %w\n%s", err, out)
	}
	return nil
}

// one fills the queues, lets one contender drain them and checks what came out.
func (b *bench) one(ctx context.Context, c *contender) (drain, error) {
	conn, err := amqp.Dial(b.url)
	if err != nil {
		return drain{}, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return drain{}, err
	}
	if err := fill(conn, c); err != nil {
		return drain{}, fmt.Errorf("fill: %w", err)
	}
	d, err := b.run(ctx, c, func() error { return waitForAll(ctx, ch, c) })
	if err != nil {
		return drain{}, err
	}
	return d, verify(ch, c)
}

func fill(conn *amqp.Connection, c *contender) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	queues := c.w.queues()
	var window []*amqp.DeferredConfirmation
	for i := range c.n {
		confirm, err := ch.PublishWithDeferredConfirm("", queues[i%len(queues)], true, false, c.w.message(i))
		if err != nil {
			return err
		}
		window = append(window, confirm)
		if len(window) == 1000 || i == c.n-1 {
			for _, w := range window {
				if !w.Wait() {
					return fmt.Errorf("message %d was not confirmed", i)
				}
			}
			window = window[:0]
		}
	}
	return nil
}

// run runs a contender until finished returns.
func (b *bench) run(ctx context.Context, c *contender, finished func() error) (drain, error) {
	cmd := b.command(ctx, c)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start, before := time.Now(), cpuOf(b.broker)
	if err := cmd.Start(); err != nil {
		return drain{}, err
	}
	waitErr := finished()
	wall := time.Since(start)
	time.Sleep(50 * time.Millisecond) // the last acknowledgements
	rss, node := peakMemory(cmd.Process.Pid), cpuOf(b.broker)-before
	_ = cmd.Process.Signal(syscall.SIGTERM)
	err := cmd.Wait()
	if waitErr != nil {
		return drain{}, fmt.Errorf("%w\n%s", waitErr, out.String())
	}
	if err != nil {
		return drain{}, fmt.Errorf("%w\n%s", err, out.String())
	}
	return drain{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), node: node, wall: wall, rss: rss}, nil
}

// peakMemory returns the most memory that a process has had, 0 where the system does not tell. (The peak that a process reports
// at its end may be that of the process that started it.)
func peakMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB int64
	_, _ = fmt.Sscan(rest, &kB)
	return kB * 1024
}

// cpuOf returns how much CPU time a process has used, 0 where the system does not tell.
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // the name in front may have spaces
	fields := bytes.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var user, system int64
	_, _ = fmt.Sscan(string(fields[11]), &user)
	_, _ = fmt.Sscan(string(fields[12]), &system)
	return time.Duration(user+system) * (time.Second / 100) // the kernel tells in hundredths, whatever its own clock
}

// coming are the messages that are to come out of each queue, in order.
func coming(c *contender) map[string][]arrival {
	all := map[string][]arrival{}
	for i := range c.n {
		for _, a := range c.w.expect(i) {
			all[a.queue] = append(all[a.queue], a)
		}
	}
	return all
}

// waitForAll waits until everything that should come out has come out.
func waitForAll(ctx context.Context, ch *amqp.Channel, c *contender) error {
	want := map[string]int{}
	for i := range c.n {
		for _, a := range c.w.expect(i) {
			want[a.queue]++
		}
	}
	pause := time.Duration(len(want)) * 5 * time.Millisecond
	if c.n == 1 {
		pause = 500 * time.Microsecond
	}
	deadline := time.Now().Add(15 * time.Minute)
	for {
		missing := 0
		for q, n := range want {
			state, err := ch.QueueDeclarePassive(q, true, false, false, false, nil)
			if err != nil {
				return err
			}
			missing += max(0, n-state.Messages)
		}
		if missing == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after 15 minutes %d messages are missing", missing)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// verify empties the output queues and compares every message with what it should be: none is lost, doubled, out of order or changed.
func verify(ch *amqp.Channel, c *contender) error {
	for q, want := range coming(c) {
		if err := verifyQueue(ch, &c.w, q, want); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	for _, q := range c.w.queues() {
		left, err := ch.QueuePurge(q, false)
		if err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("%d messages are left in %s", left, q)
		}
	}
	return nil
}

func verifyQueue(ch *amqp.Channel, w *workload, queue string, want []arrival) error {
	deliveries, err := ch.Consume(queue, "verify", true, true, false, false, nil)
	if err != nil {
		return err
	}
	next := newSequence(w, want)
	for k := range want {
		d := <-deliveries
		a := next.take(d.MessageId)
		if a == nil {
			return fmt.Errorf("message %d of the queue is %q, whose turn it is not: lost, doubled or out of order", k, d.MessageId)
		}
		if err := a.check(&d); err != nil {
			return err
		}
	}
	if err := ch.Cancel("verify", false); err != nil {
		return err
	}
	for d := range deliveries {
		return fmt.Errorf("message %q is one too many", d.MessageId)
	}
	return nil
}

// sequence is what is still to come, in order by key.
type sequence struct {
	key  func(id string) string
	rest map[string][]arrival
}

func newSequence(w *workload, want []arrival) *sequence {
	s := &sequence{key: func(string) string { return "" }, rest: map[string][]arrival{}}
	if w.key != nil {
		s.key = func(id string) string {
			var i int
			_, _ = fmt.Sscan(id, &i)
			return w.key(i)
		}
	}
	for _, a := range want {
		k := s.key(a.id)
		s.rest[k] = append(s.rest[k], a)
	}
	return s
}

// take returns the next arrival of the key, or nil if that is another one.
func (s *sequence) take(id string) *arrival {
	k := s.key(id)
	rest := s.rest[k]
	if len(rest) == 0 || rest[0].id != id {
		return nil
	}
	s.rest[k] = rest[1:]
	return &rest[0]
}

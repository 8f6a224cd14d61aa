package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// drain is what one contender did in one round.
type drain struct {
	cpu  time.Duration // user and system, from the kernel
	wall time.Duration // from the start of the process to the last message in its queue
	rss  int64         // peak, bytes
}

type results struct {
	workload   string
	messages   int
	contenders []string
	drains     map[string][]drain
}

// measure lets the contenders drain the workload in turn.
func measure(ctx context.Context, url, dir string, w workload, s settings) (*results, error) {
	file := filepath.Join(dir, "bench.hcl")
	hcl := strings.ReplaceAll(w.hcl, "QUEUE_TYPE", s.queue)
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		return nil, err
	}
	declare := command(ctx, url, s.pipe, "declare", file)
	if out, err := declare.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("declare: %w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	loop := func() *exec.Cmd { return command(ctx, url, self, "loop", "-url", url, "-workload", w.name) }
	contenders := map[string]func() *exec.Cmd{
		"loop": loop,
		"loop, one processor": func() *exec.Cmd {
			cmd := loop()
			cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
			return cmd
		},
		"pipe": func() *exec.Cmd { return command(ctx, url, s.pipe, "run", file) },
		"pipe, all processors": func() *exec.Cmd {
			return command(ctx, url, s.pipe, "run", "--procs", strconv.Itoa(runtime.NumCPU()), file)
		},
	}
	r := &results{
		workload: w.name + ", " + s.queue + " queues", messages: s.messages,
		contenders: []string{"loop", "loop, one processor", "pipe", "pipe, all processors"}, drains: map[string][]drain{},
	}
	for round := range s.rounds {
		order := slices.Clone(r.contenders)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			d, err := one(ctx, url, w, s.messages, contenders[name]())
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", name, round+1, err)
			}
			r.drains[name] = append(r.drains[name], d)
			fmt.Fprintf(os.Stderr, "%s, round %d of %d, %s: %.1f CPU-µs a message, %.0f messages/s\n",
				w.name, round+1, s.rounds, name, perMessage(d, s.messages), perSecond(d, s.messages))
		}
	}
	return r, nil
}

func command(ctx context.Context, url, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "AMQP_URL="+url)
	return cmd
}

// one fills the queue, lets one contender drain it and checks what came out.
func one(ctx context.Context, url string, w workload, n int, cmd *exec.Cmd) (drain, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return drain{}, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return drain{}, err
	}
	if err := fill(conn, n); err != nil {
		return drain{}, fmt.Errorf("fill: %w", err)
	}
	d, err := drainWith(ctx, ch, w, n, cmd)
	if err != nil {
		return drain{}, err
	}
	return d, verify(ch, w, n)
}

func fill(conn *amqp.Connection, n int) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	var window []*amqp.DeferredConfirmation
	for i := range n {
		c, err := ch.PublishWithDeferredConfirm("", "bench.in", true, false, message(i))
		if err != nil {
			return err
		}
		window = append(window, c)
		if len(window) == 1000 || i == n-1 {
			for _, c := range window {
				if !c.Wait() {
					return fmt.Errorf("message %d was not confirmed", i)
				}
			}
			window = window[:0]
		}
	}
	return nil
}

func drainWith(ctx context.Context, ch *amqp.Channel, w workload, n int, cmd *exec.Cmd) (drain, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return drain{}, err
	}
	waitErr := waitForAll(ctx, ch, w, n)
	wall := time.Since(start)
	time.Sleep(50 * time.Millisecond) // the last acknowledgements
	rss := peakMemory(cmd.Process.Pid)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	err := cmd.Wait()
	if waitErr != nil {
		return drain{}, fmt.Errorf("%w\n%s", waitErr, out.String())
	}
	if err != nil {
		return drain{}, fmt.Errorf("%w\n%s", err, out.String())
	}
	return drain{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: wall, rss: rss}, nil
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

// waitForAll waits until everything that should come out has come out.
func waitForAll(ctx context.Context, ch *amqp.Channel, w workload, n int) error {
	want := 0
	for i := range n {
		if w.output(i) != "" {
			want++
		}
	}
	deadline := time.Now().Add(5 * time.Minute)
	for {
		got := 0
		for _, q := range w.outputs {
			state, err := ch.QueueDeclarePassive(q, true, false, false, false, nil)
			if err != nil {
				return err
			}
			got += state.Messages
		}
		if got >= want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after five minutes %d of %d messages have come out", got, want)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// verify empties the output queues and compares every message with what it should be.
func verify(ch *amqp.Channel, w workload, n int) error {
	want := map[string][]int{}
	for i := range n {
		if q := w.output(i); q != "" {
			want[q] = append(want[q], i)
		}
	}
	for _, q := range w.outputs {
		tag := "verify-" + q
		deliveries, err := ch.Consume(q, tag, true, true, false, false, nil)
		if err != nil {
			return err
		}
		for k, i := range want[q] {
			d := <-deliveries
			if d.MessageId != strconv.Itoa(i) {
				return fmt.Errorf("%s: message %d of the queue is %q, not %d: lost, doubled or out of order", q, k, d.MessageId, i)
			}
			if err := w.check(i, &d); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		if err := ch.Cancel(tag, false); err != nil {
			return err
		}
		for d := range deliveries {
			return fmt.Errorf("%s: message %q is one too many", q, d.MessageId)
		}
	}
	left, err := ch.QueuePurge("bench.in", false)
	if err == nil && left > 0 {
		err = fmt.Errorf("%d messages are left in the input queue", left)
	}
	return err
}

func perMessage(d drain, n int) float64 { return float64(d.cpu.Microseconds()) / float64(n) }
func perSecond(d drain, n int) float64  { return float64(n) / d.wall.Seconds() }

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// print shows medians, and the ratio of each contender to the loop.
func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %d messages, medians of %d rounds\n", r.workload, r.messages, len(r.drains["loop"]))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tCPU-µs a message\tratio\tmessages/s\tratio\tpeak RSS, MB\t")
	var base [2]float64
	for _, name := range r.contenders {
		var cpu, rate, rss []float64
		for _, d := range r.drains[name] {
			cpu = append(cpu, perMessage(d, r.messages))
			rate = append(rate, perSecond(d, r.messages))
			rss = append(rss, float64(d.rss)/1e6)
		}
		c, m := median(cpu), median(rate)
		if name == "loop" {
			base = [2]float64{c, m}
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.2f\t%.0f\t%.2f\t%.1f\t\n", name, c, c/base[0], m, m/base[1], median(rss))
	}
	t.Flush()
}

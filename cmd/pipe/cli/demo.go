package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/sourcegraph/conc"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
)

type demoFlags struct {
	load  loadFlags
	log   logFlags
	dev   devFlag
	rate  float64
	count int
}

// demoCount is how many orders a demo makes where nobody is there to end it.
const demoCount = 40

func (a *app) demoCommand() *cobra.Command {
	flags := demoFlags{dev: embeddedBroker}
	cmd := &cobra.Command{
		Use:   "demo FILE...",
		Short: "Watch made-up orders flow through a pipeline",
		Long: fmt.Sprintf(`Demo starts a broker in memory, runs the pipelines on it, publishes made-up orders to the queues
that they consume, and shows what arrives in the declared queues that no pipeline consumes. Every
%dth order is broken, to show what happens to it then. With --dev=rabbitmq it starts a private node of
the RabbitMQ that is installed.

On a terminal it goes on until it is interrupted; elsewhere it ends after %d orders.`, badEvery, demoCount),
		Example: `  pipe demo pipelines/route.hcl
  pipe demo --rate 1 pipelines/split.hcl`,
		Args: atLeastOne("pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.demo(cmd.Context(), args, flags) },
	}
	flags.load.add(cmd)
	flags.log.add(cmd)
	flags.dev.add(cmd.Flags(), "the broker that is started for it")
	cmd.Flags().Float64Var(&flags.rate, "rate", 4, "orders a second")
	cmd.Flags().IntVar(&flags.count, "count", 0, "end after so many orders; 0 goes on")
	return cmd
}

func (a *app) demo(ctx context.Context, args []string, flags demoFlags) error {
	switch {
	case flags.rate <= 0 || flags.rate > 1e6:
		return &exitError{code: exitUsage, err: fmt.Errorf("--rate must be more than 0 and at most 1000000, not %g", flags.rate)}
	case flags.count < 0:
		return &exitError{code: exitUsage, err: fmt.Errorf("--count must be 0 or more, not %d", flags.count)}
	}
	if err := flags.dev.apart(args); err != nil {
		return err
	}
	if _, isTerminal := terminal(a.Out); flags.count == 0 && !isTerminal {
		flags.count = demoCount
	}
	out, err := a.output(flags.log)
	if err != nil {
		return err
	}
	stops := watchSignals(ctx, out.stopping)
	defer stops.release()
	if _, err := a.load(args, flags.load, nil, flags.dev.beforehand()); err != nil {
		return err
	}
	return stops.exit(flags.dev.on(stops.ctx, a, args, flags.load, out.log, true, func(c *config.Config, at addresses) error {
		s := newSession(c, out.log, runOptions(out.log, engine.DefaultDrainTimeout, nil), stops.now)
		d, err := newDemo(c, at.override, out, flags)
		if err != nil {
			return err
		}
		return outcome(out.during(s.status, func() error { return d.run(stops.ctx, s) }))
	}))
}

// run runs the session, feeds it, shows what comes out, and ends all three.
func (d *demo) run(ctx context.Context, s *session) error {
	session, endSession := context.WithCancel(ctx)
	viewing, endViewing := context.WithCancel(context.WithoutCancel(ctx))
	var running, watching conc.WaitGroup
	var err error
	running.Go(func() {
		defer endSession()
		err = s.run(session)
	})
	watching.Go(func() { d.watch(session, viewing, s, endSession) })
	running.Wait()
	d.settle()
	endViewing()
	watching.Wait()
	d.summary(s)
	return err
}

// watch feeds and shows once the session's connections have started.
func (d *demo) watch(session, viewing context.Context, s *session, endSession func()) {
	select {
	case <-s.ready:
	case <-session.Done():
		return
	}
	if err := d.pool.Start(session); err != nil {
		return // the session's own connections tell what is wrong
	}
	defer d.close()
	var viewers conc.WaitGroup
	for _, queue := range d.outputs {
		viewers.Go(func() { d.view(viewing, queue) })
	}
	d.feed(session)
	d.whenIdle(session, s, endSession)
	viewers.Wait()
}

// whenIdle ends the session when everything that was fed has been settled, and what the broker held has come again.
func (d *demo) whenIdle(session context.Context, s *session, end func()) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-session.Done():
			return
		case <-tick.C:
		}
		if t := total(s.status().pipelines); t.In >= d.fed.Load()+t.Delayed && t.InFlight == 0 {
			end()
			return
		}
	}
}

func (d *demo) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = d.pool.Close(ctx)
}

// feed publishes orders to the inputs until there are enough of them or ctx ends.
func (d *demo) feed(ctx context.Context) {
	orders := newOrderMaker(uint64(time.Now().UnixNano()))
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for n := 0; d.count == 0 || n < d.count; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		body, err := orders.next()
		if err != nil {
			return
		}
		for _, queue := range d.inputs {
			if d.pool.Publish(ctx, publishing(queue, orders.made, body)) == nil {
				d.fed.Add(1)
				d.showFed(queue, body)
			}
		}
	}
}

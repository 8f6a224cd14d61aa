package cli

import (
	"github.com/pipeamqp/pipe/engine"
	sinkamqp "github.com/pipeamqp/pipe/sinks/amqp"
	sourceamqp "github.com/pipeamqp/pipe/sources/amqp"
	"github.com/pipeamqp/pipe/stages/drop"
	"github.com/pipeamqp/pipe/stages/filter"
	"github.com/pipeamqp/pipe/stages/log"
	mapper "github.com/pipeamqp/pipe/stages/map"
	"github.com/pipeamqp/pipe/stages/route"
	"github.com/pipeamqp/pipe/stages/split"
)

// registerBuiltin registers the components that every pipe has.
func registerBuiltin(r *engine.Registry) {
	r.Source("amqp", newQueueSource)

	r.Stage("drop", drop.New)
	r.Stage("filter", filter.New)
	r.Stage("log", log.New)
	r.Stage("map", mapper.New)
	r.Stage("route", route.New)
	r.Stage("split", split.New)

	r.Sink("amqp", sinkamqp.New)
}

// queueSource is the AMQP source, with the name of its queue for the demo.
type queueSource struct {
	*sourceamqp.Source
	queue string
}

func newQueueSource(c sourceamqp.Config) (queueSource, error) {
	s, err := sourceamqp.New(c)
	if err != nil {
		return queueSource{}, err
	}
	return queueSource{s, c.Queue.Name}, nil
}

// Queue returns the name of the queue that is consumed.
func (s queueSource) Queue() string { return s.queue }

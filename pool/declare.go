package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// check reports what no broker would take, joined.
func (t *Topology) check() error {
	var wrong []error
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("topology: "+format, args...)) }
	for i, e := range t.Exchanges {
		if e.Name == "" {
			add("exchange %d has no name: the default exchange exists by itself", i+1)
		}
		checkName(&wrong, "exchange", e.Name)
		checkTable(&wrong, "exchange", e.Name, e.Arguments)
	}
	for i, q := range t.Queues {
		if q.Name == "" {
			add("queue %d has no name", i+1)
		}
		checkName(&wrong, "queue", q.Name)
		checkTable(&wrong, "queue", q.Name, q.Arguments)
		if q.MaxPriority < 0 || q.MaxPriority > 255 {
			add("queue %q: the highest priority is 0 to 255, not %d", q.Name, q.MaxPriority)
		}
		if q.Expires < 0 || (q.MessageTTL != nil && *q.MessageTTL < 0) {
			add("queue %q: a time is negative", q.Name)
		}
	}
	for i, b := range t.Bindings {
		switch {
		case b.Exchange == "":
			add("binding %d has no exchange to bind from: every queue is bound to the default exchange by its name", i+1)
		case (b.ToQueue == "") == (b.ToExchange == ""):
			add("binding %d from exchange %q leads to exactly one queue or exchange", i+1, b.Exchange)
		}
		checkName(&wrong, "routing key", b.Key)
		checkTable(&wrong, "binding from", b.Exchange, b.Arguments)
	}
	return errors.Join(wrong...)
}

func checkName(wrong *[]error, what, name string) {
	if len(name) > maxShortString {
		*wrong = append(*wrong, fmt.Errorf("topology: %s %q has %d bytes, at most %d fit", what, cut(name, 40), len(name), maxShortString))
	}
}

func checkTable(wrong *[]error, what, name string, t Table) {
	if _, _, err := measureTable(t, nil); err != nil {
		*wrong = append(*wrong, fmt.Errorf("topology: arguments of %s %q: %w", what, name, err))
	}
}

// entity is one thing to declare.
type entity struct {
	kind, name string
	asked      string
	needs      []string // keys of entities that must have been declared before
	declare    func(*amqp.Channel) error
}

func (e *entity) key() string { return e.kind + " " + e.name }

// entities returns what is to be declared, in dependency order.
func (t *Topology) entities() []*entity {
	all := make([]*entity, 0, len(t.Exchanges)+len(t.Queues)+len(t.Bindings))
	for _, e := range sortedExchanges(t.Exchanges) {
		all = append(all, e.entity())
	}
	for i := range t.Queues {
		all = append(all, t.Queues[i].entity())
	}
	for i := range t.Bindings {
		all = append(all, t.Bindings[i].entity())
	}
	return all
}

// sortedExchanges puts an exchange behind its alternate. In a circle, which AMQP allows, the file's order
// stays.
func sortedExchanges(list []Exchange) []*Exchange {
	byName := make(map[string]*Exchange, len(list))
	for i := range list {
		byName[list[i].Name] = &list[i]
	}
	var sorted []*Exchange
	seen := make(map[*Exchange]bool, len(list))
	var visit func(*Exchange)
	visit = func(e *Exchange) {
		if e == nil || seen[e] {
			return
		}
		seen[e] = true
		visit(byName[e.AlternateExchange])
		sorted = append(sorted, e)
	}
	for i := range list {
		visit(&list[i])
	}
	return sorted
}

func (e *Exchange) entity() *entity {
	kind := e.Type
	if kind == "" {
		kind = amqp.ExchangeDirect
	}
	args := normalTable(e.Arguments)
	if e.AlternateExchange != "" {
		args["alternate-exchange"] = e.AlternateExchange
	}
	out := &entity{kind: "exchange", name: e.Name}
	if e.AlternateExchange != "" {
		out.needs = []string{"exchange " + e.AlternateExchange}
	}
	out.asked = describe(args, "type "+kind, durability(e.Transient), when(e.AutoDelete, "auto-delete"), when(e.Internal, "internal"))
	declare := (*amqp.Channel).ExchangeDeclare
	if e.Passive {
		declare, out.asked = (*amqp.Channel).ExchangeDeclarePassive, "that it exists"
	}
	out.declare = func(ch *amqp.Channel) error {
		return declare(ch, e.Name, kind, !e.Transient, e.AutoDelete, e.Internal, false, args)
	}
	return out
}

func (q *Queue) entity() *entity {
	args := q.arguments()
	out := &entity{kind: "queue", name: q.Name}
	if q.DeadLetterExchange != "" {
		out.needs = []string{"exchange " + q.DeadLetterExchange}
	}
	out.asked = describe(args, durability(q.Transient), when(q.AutoDelete, "auto-delete"), when(q.Exclusive, "exclusive"))
	declare := (*amqp.Channel).QueueDeclare
	if q.Passive {
		declare, out.asked = (*amqp.Channel).QueueDeclarePassive, "that it exists"
	}
	out.declare = func(ch *amqp.Channel) error {
		_, err := declare(ch, q.Name, !q.Transient, q.AutoDelete, q.Exclusive, false, args)
		return err
	}
	return out
}

// arguments returns the typed arguments as the broker knows them.
func (q *Queue) arguments() Table {
	args := normalTable(q.Arguments)
	set := func(is bool, key string, value any) {
		if is {
			args[key] = value
		}
	}
	set(q.Type != "", "x-queue-type", q.Type)
	set(q.DeadLetterExchange != "", "x-dead-letter-exchange", q.DeadLetterExchange)
	set(q.DeadLetterRoutingKey != "", "x-dead-letter-routing-key", q.DeadLetterRoutingKey)
	set(q.DeadLetterStrategy != "", "x-dead-letter-strategy", q.DeadLetterStrategy)
	if q.MessageTTL != nil {
		args["x-message-ttl"] = q.MessageTTL.Milliseconds()
	}
	set(q.Expires > 0, "x-expires", max(1, q.Expires.Milliseconds()))
	if q.MaxLength != nil {
		args["x-max-length"] = *q.MaxLength
	}
	if q.MaxLengthBytes != nil {
		args["x-max-length-bytes"] = *q.MaxLengthBytes
	}
	set(q.Overflow != "", "x-overflow", q.Overflow)
	set(q.MaxPriority > 0, "x-max-priority", int64(q.MaxPriority))
	set(q.SingleActiveConsumer, "x-single-active-consumer", true)
	if q.DeliveryLimit != nil {
		args["x-delivery-limit"] = *q.DeliveryLimit
	}
	set(q.MaxAge != "", "x-max-age", q.MaxAge)
	set(q.QueueMode != "", "x-queue-mode", q.QueueMode)
	return args
}

func (b *Binding) entity() *entity {
	args := normalTable(b.Arguments)
	out := &entity{kind: "binding", asked: describe(args, fmt.Sprintf("key %q", b.Key))}
	if b.ToQueue != "" {
		out.name = b.Exchange + " → " + b.ToQueue
		out.needs = []string{"exchange " + b.Exchange, "queue " + b.ToQueue}
		out.declare = func(ch *amqp.Channel) error { return ch.QueueBind(b.ToQueue, b.Key, b.Exchange, false, args) }
		return out
	}
	out.name = b.Exchange + " → " + b.ToExchange
	out.needs = []string{"exchange " + b.Exchange, "exchange " + b.ToExchange}
	out.declare = func(ch *amqp.Channel) error { return ch.ExchangeBind(b.ToExchange, b.Key, b.Exchange, false, args) }
	return out
}

func durability(transient bool) string {
	if transient {
		return "transient"
	}
	return "durable"
}

func when(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

// describe says what was asked for.
func describe(args Table, parts ...string) string {
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	for _, k := range slices.Sorted(maps.Keys(args)) {
		parts = append(parts, fmt.Sprintf("%s = %v", k, args[k]))
	}
	return strings.Join(parts, ", ")
}

// declare applies a topology, and goes on with what does not depend on an entity that failed. The error
// is one of the connection's; then the rest has not been tried.
func (p *Pool) declare(ctx context.Context, g *generation, t *Topology) (failed []*TopologyError, err error) {
	s := &scratch{g: g}
	defer s.close()
	bad := make(map[string]bool)
	for _, e := range t.entities() {
		if ctx.Err() != nil {
			return failed, context.Cause(ctx)
		}
		problem, err := p.declareOne(s, e, bad)
		if err != nil {
			return failed, err
		}
		if problem != nil {
			bad[e.key()] = true
			failed = append(failed, problem)
		}
	}
	return failed, nil
}

func (p *Pool) declareOne(s *scratch, e *entity, bad map[string]bool) (*TopologyError, error) {
	problem := &TopologyError{Entity: e.kind, Name: e.name, Asked: e.asked}
	for _, need := range e.needs {
		if bad[need] {
			problem.Broker = "not asked"
			problem.Advice = fmt.Sprintf("%s could not be declared, see there", need)
			return problem, nil
		}
	}
	if before, ok := p.deadly.Load(e.key()); ok {
		return before.(*TopologyError), nil
	}
	err := s.do(e.declare)
	if err == nil {
		return nil, nil
	}
	said := brokerSaid(err)
	if said == nil || said.Code == amqp.ConnectionForced {
		return nil, fmt.Errorf("declare %s: %w", e.key(), err)
	}
	problem.Code, problem.Broker = said.Code, said.Reason
	problem.Advice = advice(e, said)
	if !said.Recover {
		// The broker has closed the connection over it. It is not asked again.
		p.deadly.Store(e.key(), problem)
		return nil, fmt.Errorf("declare %s: %w", e.key(), err)
	}
	return problem, nil
}

func advice(e *entity, said *amqp.Error) string {
	code := said.Code
	if strings.HasPrefix(said.Reason, "PRECONDITION_FAILED - unknown exchange type") {
		code = amqp.CommandInvalid // which it was before RabbitMQ 4
	}
	switch code {
	case amqp.PreconditionFailed:
		return fmt.Sprintf("the %s exists with other properties, or the broker takes none like these: delete it on the broker, or change what is asked for", e.kind)
	case amqp.AccessRefused:
		return "grant the user configure permission on it (and write and read for a binding), or choose a name that does not begin with amq."
	case amqp.NotFound:
		return "create what is missing, or correct the name"
	case amqp.ResourceLocked:
		return "it is an exclusive queue of another connection: use another name"
	case amqp.CommandInvalid:
		return "the broker has no such type: enable the plugin that brings it, or correct the type"
	}
	return "change what is asked for, or see the broker's log"
}

// joinTopology makes one error of all failures, or nil.
func joinTopology(failed []*TopologyError) error {
	errs := make([]error, len(failed))
	for i, f := range failed {
		errs[i] = f
	}
	return errors.Join(errs...)
}

package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/pool"
)

// declareBlock is what is to exist on a broker.
type declareBlock struct {
	_          struct{}           `doc:"What is to exist on the broker; it is declared before anything starts, and again after every reconnect."`
	Connection *connection        `hcl:"connection,optional" doc:"The broker. Default: the only connection, or the one named main."`
	Exchanges  []*hclsyntax.Block `hcl:"exchange,block"`
	Queues     []*hclsyntax.Block `hcl:"queue,block"`
	Bindings   []*hclsyntax.Block `hcl:"binding,block"`
}

type exchangeBlock struct {
	_          struct{}       `doc:"An exchange. It is referred to as exchange.NAME, or exchange[\"NAME\"] where the name has dots."`
	Label      string         `hcl:"name,label"`
	Name       *string        `hcl:"name,optional" doc:"The name on the broker. Default: the block's."`
	Type       string         `hcl:"type,optional" default:"direct" doc:"direct, fanout, topic, headers, or that of a plugin."`
	Durable    bool           `hcl:"durable,optional" default:"true" doc:"Survive a restart of the broker."`
	AutoDelete bool           `hcl:"auto_delete,optional" doc:"Go with the last binding."`
	Internal   bool           `hcl:"internal,optional" doc:"Take messages from other exchanges only."`
	Alternate  *pool.Exchange `hcl:"alternate_exchange,optional" doc:"Takes what this exchange cannot route."`
	Arguments  map[string]any `hcl:"arguments,optional" doc:"Further arguments."`
	Passive    bool           `hcl:"passive,optional" doc:"Only check that it exists."`
}

type queueBlock struct {
	_                    struct{}       `doc:"A queue. It is referred to as queue.NAME, or queue[\"NAME\"] where the name has dots."`
	Label                string         `hcl:"name,label"`
	Name                 *string        `hcl:"name,optional" doc:"The name on the broker. Default: the block's."`
	Type                 string         `hcl:"type,optional" enum:"classic,quorum,stream" doc:"The type. Default: the virtual host's."`
	Durable              bool           `hcl:"durable,optional" default:"true" doc:"Survive a restart of the broker."`
	AutoDelete           bool           `hcl:"auto_delete,optional" doc:"Go with the last consumer."`
	Exclusive            bool           `hcl:"exclusive,optional" doc:"Belong to this process, and go with it."`
	DeadLetter           *pool.Exchange `hcl:"dead_letter,optional" doc:"The exchange that takes rejected and expired messages."`
	DeadLetterRoutingKey string         `hcl:"dead_letter_routing_key,optional" doc:"The routing key of dead letters. Default: that of the message."`
	DeadLetterStrategy   string         `hcl:"dead_letter_strategy,optional" enum:"at-most-once,at-least-once" doc:"Whether dead letters can be lost on the way. at-least-once needs a quorum queue with overflow = \"reject-publish\"."`
	MessageTTL           *time.Duration `hcl:"message_ttl,optional" doc:"How long a message may wait."`
	Expires              time.Duration  `hcl:"expires,optional" min:"1ms" doc:"How long the queue may go unused before it is deleted."`
	MaxLength            *int64         `hcl:"max_length,optional" min:"0" doc:"The most messages that may wait."`
	MaxLengthBytes       *int64         `hcl:"max_length_bytes,optional" unit:"bytes" doc:"The most bytes of bodies that may wait."`
	Overflow             string         `hcl:"overflow,optional" enum:"drop-head,reject-publish,reject-publish-dlx" doc:"What happens when the queue is full."`
	MaxPriority          int            `hcl:"max_priority,optional" min:"0" max:"255" doc:"The highest priority of a message; classic queues only."`
	SingleActiveConsumer bool           `hcl:"single_active_consumer,optional" doc:"Deliver to one consumer at a time."`
	DeliveryLimit        *int64         `hcl:"delivery_limit,optional" doc:"How often a quorum queue delivers a message before it gives it up."`
	MaxAge               string         `hcl:"max_age,optional" doc:"How long a stream keeps messages, as \"7D\"."`
	QueueMode            string         `hcl:"queue_mode,optional" enum:"default,lazy" doc:"Whether a classic queue keeps messages on disk only."`
	Arguments            map[string]any `hcl:"arguments,optional" doc:"Further arguments."`
	Passive              bool           `hcl:"passive,optional" doc:"Only check that it exists."`
}

type bindingBlock struct {
	_         struct{}       `doc:"A binding of a queue, or of an exchange, to an exchange."`
	From      *pool.Exchange `hcl:"from" doc:"The exchange that messages come from."`
	To        endpoint       `hcl:"to" doc:"The queue or exchange that takes them."`
	Key       string         `hcl:"key,optional" doc:"The routing key, or a pattern for a topic exchange."`
	Keys      []string       `hcl:"keys,optional" doc:"Several routing keys."`
	Arguments map[string]any `hcl:"arguments,optional" doc:"Further arguments, as for a headers exchange."`
}

// entity is an exchange or a queue.
type entity struct {
	kind       string // "exchange" or "queue"
	label      string // what references name
	block      *hclsyntax.Block
	connection *connection
	exchange   *pool.Exchange
	queue      *pool.Queue
}

// name is the name on the broker.
func (n *entity) name() string {
	if n.exchange != nil {
		return n.exchange.Name
	}
	return n.queue.Name
}

// binding is a binding block that was read.
type binding struct {
	at         hcl.Range
	connection *connection
	pool.Binding
}

// setTopology reads the declare blocks: first the names of all that is declared, and then what refers to
// them.
func (l *loader) setTopology() {
	decls := make([]declareBlock, len(l.blocks.Declares))
	for i, b := range l.blocks.Declares {
		l.declare(b, &decls[i])
	}
	for _, n := range l.entities {
		l.setEntity(n)
	}
	for i := range decls {
		for _, b := range decls[i].Bindings {
			l.setBinding(decls[i].Connection, b)
		}
	}
	l.checkDeadLetters()
	l.collectTopology()
}

// declare notes the names that a block declares.
func (l *loader) declare(b *hclsyntax.Block, decl *declareBlock) {
	d := &decoder{loader: l}
	d.decode(blockOf(b), decl)
	if decl.Connection == nil {
		decl.Connection = l.defaultConnection(b.DefRange(), "the block")
	}
	if decl.Connection == nil {
		return
	}
	decl.Connection.used = true
	for _, inner := range slices.Concat(decl.Exchanges, decl.Queues) {
		l.declareEntity(decl.Connection, inner)
	}
}

func (l *loader) declareEntity(c *connection, b *hclsyntax.Block) {
	n := &entity{kind: b.Type, block: b, connection: c}
	if len(b.Labels) == 1 {
		n.label = b.Labels[0]
	}
	if n.kind == "exchange" {
		n.exchange = &pool.Exchange{Name: n.label}
	} else {
		n.queue = &pool.Queue{Name: n.label}
	}
	for _, other := range l.entities {
		if n.label != "" && other.kind == n.kind && other.label == n.label && other.connection == c {
			l.duplicate(b.DefRange(), fmt.Sprintf("%s %q", n.kind, n.label), other.block.DefRange())
			return
		}
	}
	l.rename(n)
	l.entities = append(l.entities, n)
}

// rename gives an entity its name on the broker before others look for it.
func (l *loader) rename(n *entity) {
	a := n.block.Body.Attributes["name"]
	if a == nil {
		return
	}
	d := &decoder{loader: l}
	var name string
	switch {
	case !d.text(a.Expr, &name):
	case n.exchange != nil:
		n.exchange.Name = name
	default:
		n.queue.Name = name
	}
}

func (l *loader) setEntity(n *entity) {
	d := &decoder{loader: l, connection: n.connection}
	if n.kind == "exchange" {
		d.setExchange(n)
		return
	}
	d.setQueue(n)
}

func (d *decoder) setExchange(n *entity) {
	var decl exchangeBlock
	if !d.decode(blockOf(n.block), &decl) {
		return
	}
	d.checkType(n.block, decl.Type)
	d.checkArguments(n.block, decl.Arguments)
	*n.exchange = pool.Exchange{
		Name: n.exchange.Name, Type: decl.Type, Transient: !decl.Durable, AutoDelete: decl.AutoDelete,
		Internal: decl.Internal, Arguments: decl.Arguments, Passive: decl.Passive,
	}
	if decl.Alternate != nil {
		n.exchange.AlternateExchange = decl.Alternate.Name
	}
	d.checkName(n)
}

var exchangeTypes = []string{"direct", "fanout", "topic", "headers"}

func (d *decoder) checkType(b *hclsyntax.Block, typ string) {
	if slices.Contains(exchangeTypes, typ) || strings.HasPrefix(typ, "x-") {
		return
	}
	d.error(b.Body.Attributes["type"].Expr.Range(), "Invalid value",
		`"type" is %s, or that of a plugin, which begins with "x-", not %q.%s`, list(exchangeTypes, quoted, "or"), typ, maybe(typ, exchangeTypes))
}

// checkName refuses names that the broker would refuse.
func (l *loader) checkName(n *entity) {
	name := n.name()
	at := n.block.DefRange()
	switch {
	case name == "":
		l.error(at, "Empty name", "The name must not be empty.")
	case len(name) > 255:
		l.error(at, "Name too long", "The name has %d bytes; AMQP allows 255.", len(name))
	case strings.HasPrefix(name, "amq.") && !n.passive():
		l.error(at, "Reserved name", `Names that begin with "amq." belong to the broker. Name it in quotes where it is used, or add passive = true.`)
	}
}

func (n *entity) passive() bool {
	if n.exchange != nil {
		return n.exchange.Passive
	}
	return n.queue.Passive
}

func (d *decoder) setQueue(n *entity) {
	var decl queueBlock
	if !d.decode(blockOf(n.block), &decl) {
		return
	}
	d.checkQueue(n.block, &decl)
	d.checkArguments(n.block, decl.Arguments)
	*n.queue = pool.Queue{
		Name: n.queue.Name, Type: decl.Type, Transient: !decl.Durable, AutoDelete: decl.AutoDelete, Exclusive: decl.Exclusive,
		DeadLetterRoutingKey: decl.DeadLetterRoutingKey, DeadLetterStrategy: decl.DeadLetterStrategy,
		MessageTTL: decl.MessageTTL, Expires: decl.Expires, MaxLength: decl.MaxLength, MaxLengthBytes: decl.MaxLengthBytes,
		Overflow: decl.Overflow, MaxPriority: decl.MaxPriority, SingleActiveConsumer: decl.SingleActiveConsumer,
		DeliveryLimit: decl.DeliveryLimit, MaxAge: decl.MaxAge, QueueMode: decl.QueueMode,
		Arguments: decl.Arguments, Passive: decl.Passive,
	}
	d.setDeadLetter(n.queue, decl.DeadLetter)
	d.checkName(n)
}

// setDeadLetter names the dead-letter exchange; the default one has an empty name, which only an argument
// can carry.
func (d *decoder) setDeadLetter(q *pool.Queue, to *pool.Exchange) {
	switch {
	case to == nil:
	case to.Name != "":
		q.DeadLetterExchange = to.Name
	default:
		if q.Arguments == nil {
			q.Arguments = pool.Table{}
		}
		q.Arguments["x-dead-letter-exchange"] = ""
	}
}

// brokerNames are the names that the broker has for arguments, where they are not "x-" and the same with hyphens.
var brokerNames = map[string]string{
	"type": "x-queue-type", "dead_letter": "x-dead-letter-exchange", "alternate_exchange": "alternate-exchange",
}

// checkArguments refuses what is given twice: by an argument of its own, and among the further arguments.
func (d *decoder) checkArguments(b *hclsyntax.Block, further map[string]any) {
	for _, name := range keys(b.Body.Attributes) {
		key, ok := brokerNames[name]
		if !ok {
			key = "x-" + strings.ReplaceAll(name, "_", "-")
		}
		if _, twice := further[key]; twice {
			d.error(b.Body.Attributes["arguments"].SrcRange, "Two ways to give an argument", "Give either %s or %q in arguments.", name, key)
		}
	}
}

// checkQueue refuses what no broker does for the queue's type.
func (d *decoder) checkQueue(b *hclsyntax.Block, decl *queueBlock) {
	if decl.Type != "quorum" && decl.Type != "stream" {
		return
	}
	refuse := func(argument, why string) {
		at := b.DefRange()
		if a := b.Body.Attributes[argument]; a != nil {
			at = a.SrcRange
		}
		d.error(at, "Not for this type of queue", "A %s queue %s.", decl.Type, why)
	}
	if !decl.Durable {
		refuse("durable", "is always durable")
	}
	if decl.Exclusive {
		refuse("exclusive", "cannot be exclusive")
	}
	if decl.AutoDelete {
		refuse("auto_delete", "cannot be deleted with its last consumer; use expires")
	}
	if decl.MaxPriority > 0 {
		refuse("max_priority", "has no such priorities")
	}
	if decl.QueueMode != "" {
		refuse("queue_mode", "has no modes")
	}
	if decl.Type == "stream" && decl.DeadLetter != nil {
		refuse("dead_letter", "has no dead letters: reading it removes nothing")
	}
	if decl.Type == "stream" && decl.MessageTTL != nil {
		refuse("message_ttl", "has no such limit; use max_age")
	}
}

func (l *loader) setBinding(c *connection, b *hclsyntax.Block) {
	d := &decoder{loader: l, connection: c}
	var decl bindingBlock
	if !d.decode(blockOf(b), &decl) || c == nil {
		return
	}
	keys := decl.Keys
	switch {
	case b.Body.Attributes["key"] != nil && keys != nil:
		l.error(b.Body.Attributes["keys"].NameRange, "Two ways to give a key", "Give either key or keys.")
	case keys == nil:
		keys = []string{decl.Key}
	}
	for _, key := range keys {
		one := pool.Binding{Exchange: decl.From.Name, Key: key, Arguments: decl.Arguments}
		if decl.To.queue != nil {
			one.ToQueue = decl.To.queue.Name
		} else {
			one.ToExchange = decl.To.exchange.Name
		}
		l.bindings = append(l.bindings, &binding{b.DefRange(), c, one})
		l.checkKey(b, decl.From, key)
	}
	if decl.From.Name == "" {
		l.error(b.Body.Attributes["from"].Expr.Range(), "Binding from the default exchange", "Every queue is bound to the default exchange by its own name already.")
	}
}

// checkKey warns of keys that do not do what they seem to.
func (l *loader) checkKey(b *hclsyntax.Block, from *pool.Exchange, key string) {
	at := b.DefRange()
	for _, name := range []string{"key", "keys"} {
		if a := b.Body.Attributes[name]; a != nil {
			at = a.Expr.Range()
		}
	}
	wild := strings.ContainsAny(key, "*#")
	switch {
	case from.Type == "direct" && wild:
		l.warn(at, "Key without wildcards", `Exchange %q is direct: * and # are ordinary characters in this key. For patterns the exchange needs type = "topic".`, from.Name)
	case from.Type == "direct" && key == "", from.Type == "topic" && key == "":
		l.warn(at, "Binding without a key", "Without a key, this binding takes only messages whose routing key is empty.%s", everything(from))
	case from.Type == "fanout" && key != "":
		l.warn(at, "Key without effect", "Exchange %q is a fanout: it sends every message on, whatever its routing key.", from.Name)
	case from.Type == "topic" && partialWord(key):
		l.warn(at, "Wildcard inside a word", `* and # stand for whole words between dots: in %q they are ordinary characters. An example: "order.*".`, key)
	}
}

func everything(from *pool.Exchange) string {
	if from.Type == "topic" {
		return ` For all messages write key = "#".`
	}
	return ""
}

func partialWord(key string) bool {
	return slices.ContainsFunc(strings.Split(key, "."), func(word string) bool {
		return len(word) > 1 && strings.ContainsAny(word, "*#")
	})
}

// checkDeadLetters warns of dead letters that go to an exchange from where nothing takes them.
func (l *loader) checkDeadLetters() {
	for _, n := range l.entities {
		if n.queue == nil || n.queue.DeadLetterExchange == "" {
			continue
		}
		to := l.declaredAs("exchange", n.queue.DeadLetterExchange, n.connection)
		if to == nil || to.passive() || to.exchange.AlternateExchange != "" || l.boundFrom(to) {
			continue
		}
		l.warn(n.block.Body.Attributes["dead_letter"].SrcRange, "Dead letters would be lost",
			"Exchange %q is bound to nothing in these files, so it drops what it is sent. Add a binding from it to a queue.", to.name())
	}
}

func (l *loader) boundFrom(n *entity) bool {
	return slices.ContainsFunc(l.bindings, func(b *binding) bool {
		return b.connection == n.connection && b.Exchange == n.name()
	})
}

// declaredAs returns what is declared by a name of the broker's.
func (l *loader) declaredAs(kind, name string, c *connection) *entity {
	i := slices.IndexFunc(l.entities, func(n *entity) bool {
		return n.kind == kind && n.connection == c && n.name() == name
	})
	if i < 0 {
		return nil
	}
	return l.entities[i]
}

// collectTopology gives every connection what is declared on it.
func (l *loader) collectTopology() {
	for _, n := range l.entities {
		if n.name() == "" {
			continue // which has been told
		}
		t := &n.connection.topology
		if n.exchange != nil {
			t.Exchanges = append(t.Exchanges, *n.exchange)
		} else {
			t.Queues = append(t.Queues, *n.queue)
		}
	}
	for _, b := range l.bindings {
		t := &b.connection.topology
		t.Bindings = append(t.Bindings, b.Binding)
	}
}

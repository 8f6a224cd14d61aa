package pool

import "time"

// Topology is what is to exist on the broker. It is declared in dependency order: exchanges
// (alternate exchanges first), queues, bindings.
type Topology struct {
	Exchanges []Exchange
	Queues    []Queue
	Bindings  []Binding
}

// Entity is something to declare, in words.
type Entity struct {
	Kind  string // "exchange", "queue" or "binding"
	Name  string // for a binding, "from → to"
	Asked string // what is asked for
}

// Entities returns everything that is to be declared, in the order in which that happens.
func (t Topology) Entities() []Entity {
	var all []Entity
	for _, e := range t.entities() {
		all = append(all, Entity{e.kind, e.name, e.asked})
	}
	return all
}

// Exchange is an exchange to declare. It is durable unless Transient.
type Exchange struct {
	Name string
	// Type is "direct", "fanout", "topic", "headers" or a plugin's; "direct" by default.
	Type string
	// Transient exchanges go when the broker restarts.
	Transient bool
	// AutoDelete exchanges go with their last binding.
	AutoDelete bool
	// Internal exchanges take messages from other exchanges only.
	Internal bool
	// AlternateExchange takes what this one cannot route.
	AlternateExchange string
	// Arguments are further arguments. A typed field above wins.
	Arguments Table
	// Passive only checks that the exchange exists.
	Passive bool
}

// Queue is a queue to declare. It is durable unless Transient.
type Queue struct {
	Name string
	// Type is "classic", "quorum" or "stream"; "" is the virtual host's default.
	Type string
	// Transient queues go when the broker restarts; classic only.
	Transient bool
	// AutoDelete queues go with their last consumer.
	AutoDelete bool
	// Exclusive queues belong to one listen connection and go with it.
	Exclusive bool

	// DeadLetterExchange takes rejected and expired messages. The default exchange cannot be named
	// here (put "x-dead-letter-exchange" = "" into Arguments).
	DeadLetterExchange string
	// DeadLetterRoutingKey replaces the routing key of dead letters; "" keeps it.
	DeadLetterRoutingKey string
	// DeadLetterStrategy is "at-most-once" or "at-least-once" (quorum with Overflow "reject-publish").
	DeadLetterStrategy string
	// MessageTTL is how long a message may wait, in whole milliseconds; nil is for ever.
	MessageTTL *time.Duration
	// Expires is how long the queue may go unused before it is deleted; 0 is for ever.
	Expires time.Duration
	// MaxLength is the most messages that may wait; nil is no limit.
	MaxLength *int64
	// MaxLengthBytes is the most bytes of bodies that may wait; nil is no limit.
	MaxLengthBytes *int64
	// Overflow is "drop-head", "reject-publish" or "reject-publish-dlx".
	Overflow string
	// MaxPriority makes a priority queue, with priorities 0 to MaxPriority; 0 is none. Classic only.
	MaxPriority int
	// SingleActiveConsumer delivers to one consumer at a time.
	SingleActiveConsumer bool
	// DeliveryLimit is how often a quorum queue delivers a message before it gives it up; nil is the
	// broker's default.
	DeliveryLimit *int64
	// MaxAge is how long a stream keeps messages, as "7D" or "12h"; "" is for ever.
	MaxAge string
	// QueueMode is "lazy" or "default"; classic only.
	QueueMode string
	// Arguments are further arguments. A typed field above wins.
	Arguments Table
	// Passive only checks that the queue exists.
	Passive bool
}

// Binding routes from an exchange to a queue or to another exchange: exactly one of ToQueue and
// ToExchange is set.
type Binding struct {
	Exchange   string // from
	ToQueue    string
	ToExchange string
	Key        string
	Arguments  Table
}

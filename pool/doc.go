// Package pool is an access layer over AMQP 0-9-1 (RabbitMQ): named connections that mend themselves,
// publishing with confirms, consuming with batched acknowledgements, and topology as data.
//
// # Model
//
// A [Pool] stands for one broker and one virtual host. It keeps two kinds of connections, because a
// broker that pushes back on a publisher stops reading the whole connection:
//
//   - listen connections carry consumers and declarations,
//   - publish connections carry publishing channels.
//
// [Pool.Start] dials both, applies the [Topology] and runs the OnStart hooks; when a connection breaks
// it is dialled again for ever, with growing pauses, and the same things are done again before anything
// flows. Every (re)connection is a new generation: what came on an older one can no longer be
// acknowledged, and is dropped and counted instead.
//
// [Pool.Consume] hands over deliveries in the order in which they arrive, a chunk at a time; they are
// settled through the [Session] that they came on, from any goroutine, once each.
//
// A [Publisher] takes responsibility for messages: it calls back exactly once a message, with nil when
// the broker has confirmed it. Thousands may be in flight while their order is kept.
//
// For programs that are no pipelines there is a plain layer above these: [Pool.Publish] and [Pool.PublishAsync];
// [Pool.With] and [Pool.Acquire], which lease a publishing channel; [Pool.Get] and [Pool.GetAndAck]; [Pool.Listen] and
// [Pool.Deliveries]; [Pool.Request] and [Pool.Reply].
//
// A mistake in one message (a property that AMQP cannot carry, an exchange that does not exist, no queue
// that takes it) fails that message alone. Errors have types: see [ErrReturned], [IsPermanent] and
// [IsConnection]. Passwords never show in an error, a log line or [Pool.Redacted].
package pool

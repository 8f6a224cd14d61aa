package telemetry

import semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

// Every name of a span, a metric or an attribute is in this file. The messaging conventions of OpenTelemetry are still in
// development: names that come from them may change when their version, which is pinned here, does. In one thing we go our own way:
// the name of a destination is that of a queue or exchange alone. The conventions join it with the routing key, which may be another for
// each message, and would make a span name and a series of metrics for each.

// schemaURL tells a backend which version of the conventions the names follow.
const schemaURL = semconv.SchemaURL

// scope is what spans and metrics say they come from.
const scope = "github.com/pipeamqp/pipe"

// The operations of messaging. A span's name is the operation and where it is done, as "process orders.in"; that of a stage is its kind
// and name, as "filter paid". A name holds only what is written in a pipeline file: there are not many of them.
const (
	opConsume = "consume"
	opProcess = "process"
	opPublish = "publish"
	opAck     = "ack"
	opNack    = "nack"
	opReject  = "reject"

	typeReceive = "receive"
	typeProcess = "process"
	typeSend    = "send"
	typeSettle  = "settle"
)

// Attributes of the conventions.
const (
	attrSystem        = semconv.MessagingSystemKey
	attrOperation     = semconv.MessagingOperationNameKey
	attrOperationType = semconv.MessagingOperationTypeKey
	attrDestination   = semconv.MessagingDestinationNameKey
	attrBatchCount    = semconv.MessagingBatchMessageCountKey
	attrMessageID     = semconv.MessagingMessageIDKey
	attrConversation  = semconv.MessagingMessageConversationIDKey
	attrBodySize      = semconv.MessagingMessageBodySizeKey
	attrRoutingKey    = semconv.MessagingRabbitMQDestinationRoutingKeyKey
	attrDeliveryTag   = semconv.MessagingRabbitMQMessageDeliveryTagKey
	attrServer        = semconv.ServerAddressKey
	attrPort          = semconv.ServerPortKey
	attrErrorType     = semconv.ErrorTypeKey
)

// Attributes of our own.
const (
	attrPipeline    = "pipe.pipeline"
	attrComponent   = "pipe.component"   // as a file names it: "filter.paid", "sink.eu"
	attrAttempt     = "pipe.attempt"     // from 1
	attrRedelivered = "pipe.redelivered" // the broker says so
	attrOutcome     = "pipe.outcome"     // how a delivery was settled, what became of what was published, or that a stage dropped it
	attrConnection  = "pipe.connection"  // the name of a connection block
	attrState       = "pipe.connection.state"
	attrStage       = "pipe.stage.duration" // of an event that stands for a stage, in seconds
)

// outcomeDiscard is the outcome of a stage that drops a message on purpose.
const outcomeDiscard = "discard"

// Metrics of the conventions.
const (
	metricConsumed  = "messaging.client.consumed.messages"
	metricSent      = "messaging.client.sent.messages"
	metricOperation = "messaging.client.operation.duration"
	metricProcess   = "messaging.process.duration"
)

// Metrics of our own.
const (
	metricReceived     = "pipe.component.received"
	metricEmitted      = "pipe.component.sent"
	metricErrors       = "pipe.component.errors"
	metricDiscarded    = "pipe.component.discarded"
	metricUnconfirmed  = "pipe.component.unconfirmed"
	metricStage        = "pipe.stage.duration"
	metricSettled      = "pipe.deliveries.settled"
	metricInFlight     = "pipe.deliveries.in_flight"
	metricFailed       = "pipe.attempts.failed"
	metricRetried      = "pipe.attempts.retried"
	metricDelayed      = "pipe.deliveries.delayed"
	metricTolerated    = "pipe.failures.tolerated"
	metricUnlogged     = "pipe.failures.unlogged"
	metricUtilization  = "pipe.component.utilization"
	metricLatency      = "pipe.message.latency"
	metricBroken       = "pipe.trace_context.invalid"
	metricUp           = "pipe.connection.up"
	metricReconnects   = "pipe.connection.reconnects"
	metricBlocked      = "pipe.connection.blocked"
	metricBlockedTime  = "pipe.connection.blocked.time"
	metricPublished    = "pipe.connection.published"
	metricUnsettled    = "pipe.connection.unsettled"
	metricUnacked      = "pipe.connection.unconfirmed"
	metricStaleAcks    = "pipe.connection.stale_acks"
	metricDoubleSettle = "pipe.connection.double_settles"
)

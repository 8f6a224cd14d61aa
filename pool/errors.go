package pool

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	// ErrNacked says that the broker refused a message (a full queue that rejects, an internal error).
	ErrNacked = errors.New("the broker refused the message (nack)")
	// ErrUnconfirmed says that the connection or channel went before the confirm: the broker may or
	// may not have the message.
	ErrUnconfirmed = errors.New("the connection went before the broker confirmed: the message may or may not have arrived")
	// ErrPoolTimeout says that the context ended while waiting for a connection, or for room among
	// the unconfirmed.
	ErrPoolTimeout = errors.New("no room to publish before the context ended")
	// ErrBlocked says that the context ended while the broker blocked publishers (memory or disk alarm).
	ErrBlocked = errors.New("the broker blocks publishers (memory or disk alarm)")
	// ErrClosed says that the pool or the publisher has been closed.
	ErrClosed = errors.New("the pool is closed")
)

// ErrReturned says that no queue took a mandatory message. Use it with errors.As.
type ErrReturned struct {
	Code                 uint16 // reply code, as 312
	Text                 string // reply text, as NO_ROUTE
	Exchange, RoutingKey string
}

func (e *ErrReturned) Error() string {
	return fmt.Sprintf("no queue takes routing key %q of exchange %q (%d %s): bind one, or publish without mandatory",
		e.RoutingKey, e.Exchange, e.Code, e.Text)
}

// ErrInvalid says that AMQP cannot carry a message. Use it with errors.As.
type ErrInvalid struct {
	Field  string // the property or header, as `header "a"."b"` or message-id
	Reason string
}

func (e *ErrInvalid) Error() string { return fmt.Sprintf("invalid %s: %s", e.Field, e.Reason) }

// ErrTooLarge says that a message is larger than the broker takes. Use it with errors.As.
type ErrTooLarge struct {
	What        string // "body", or "properties and headers"
	Size, Limit int    // bytes
}

func (e *ErrTooLarge) Error() string {
	return fmt.Sprintf("the %s of the message take %d bytes; the broker accepts %d", e.What, e.Size, e.Limit)
}

// ErrNoExchange says that a message was published to an exchange that does not exist. Use it with errors.As.
type ErrNoExchange struct {
	Exchange string
	Broker   string // what the broker said
}

func (e *ErrNoExchange) Error() string {
	return fmt.Sprintf("exchange %q does not exist: declare it, or correct the name (%s)", e.Exchange, e.Broker)
}

// ErrAccessRefused says that the broker does not allow the user to publish to an exchange. Use it with errors.As.
type ErrAccessRefused struct {
	Exchange, User string
	Broker         string // what the broker said
}

func (e *ErrAccessRefused) Error() string {
	return fmt.Sprintf("user %q may not publish to exchange %q: grant write permission on it (%s)", e.User, e.Exchange, e.Broker)
}

// ConnectError says that the broker refused a connection for a reason that trying again does not mend:
// wrong credentials or a virtual host that is missing or not open to the user. Use it with errors.As.
type ConnectError struct {
	URL    string // without password
	Code   int    // reply code
	Broker string // what the broker said
	Advice string // what to do
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connect to %s: %d %s: %s", e.URL, e.Code, e.Broker, e.Advice)
}

// TopologyError says that an entity could not be declared. Use it with errors.As.
type TopologyError struct {
	Entity string // "exchange", "queue" or "binding"
	Name   string // of the exchange or queue; for a binding, "from → to"
	Asked  string // what was asked for
	Broker string // what the broker said
	Code   int    // reply code; 0 when the broker was not asked
	Advice string // what to do
}

func (e *TopologyError) Error() string {
	return fmt.Sprintf("declare %s %q (%s): %s: %s", e.Entity, e.Name, e.Asked, e.Broker, e.Advice)
}

// brokerSaid returns what the broker itself said, or nil: the library makes errors of the same type.
func brokerSaid(err error) *amqp.Error {
	var said *amqp.Error
	if errors.As(err, &said) && said.Server {
		return said
	}
	return nil
}

// IsPermanent reports that sending the same message again would fail again: it was returned, is
// invalid or too large, or its exchange is missing or closed to the user.
func IsPermanent(err error) bool {
	var (
		returned *ErrReturned
		invalid  *ErrInvalid
		large    *ErrTooLarge
		missing  *ErrNoExchange
		refused  *ErrAccessRefused
	)
	return errors.As(err, &returned) || errors.As(err, &invalid) || errors.As(err, &large) ||
		errors.As(err, &missing) || errors.As(err, &refused)
}

// IsConnection reports that the connection is to blame and not the message: the outcome is unknown, or
// there was no room to send before the context ended, or the broker does not let us in.
func IsConnection(err error) bool {
	var refused *ConnectError
	return errors.As(err, &refused) || errors.Is(err, ErrUnconfirmed) || errors.Is(err, ErrPoolTimeout) || errors.Is(err, ErrBlocked) || errors.Is(err, ErrClosed)
}

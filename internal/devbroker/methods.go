package devbroker

import "fmt"

// Classes and methods (AMQP 0-9-1, section 1).
const (
	classConnection = 10
	classChannel    = 20
	classExchange   = 40
	classQueue      = 50
	classBasic      = 60
	classConfirm    = 85
	classTx         = 90
)

// method is a class and a method in one number.
type method uint32

const (
	connectionStart     method = classConnection<<16 | 10
	connectionStartOK   method = classConnection<<16 | 11
	connectionTune      method = classConnection<<16 | 30
	connectionTuneOK    method = classConnection<<16 | 31
	connectionOpen      method = classConnection<<16 | 40
	connectionOpenOK    method = classConnection<<16 | 41
	connectionClose     method = classConnection<<16 | 50
	connectionCloseOK   method = classConnection<<16 | 51
	connectionBlocked   method = classConnection<<16 | 60
	connectionUnblocked method = classConnection<<16 | 61
	updateSecret        method = classConnection<<16 | 70
	updateSecretOK      method = classConnection<<16 | 71

	channelOpen    method = classChannel<<16 | 10
	channelOpenOK  method = classChannel<<16 | 11
	channelFlow    method = classChannel<<16 | 20
	channelFlowOK  method = classChannel<<16 | 21
	channelClose   method = classChannel<<16 | 40
	channelCloseOK method = classChannel<<16 | 41

	exchangeDeclare   method = classExchange<<16 | 10
	exchangeDeclareOK method = classExchange<<16 | 11
	exchangeDelete    method = classExchange<<16 | 20
	exchangeDeleteOK  method = classExchange<<16 | 21
	exchangeBind      method = classExchange<<16 | 30
	exchangeBindOK    method = classExchange<<16 | 31
	exchangeUnbind    method = classExchange<<16 | 40
	exchangeUnbindOK  method = classExchange<<16 | 51

	queueDeclare   method = classQueue<<16 | 10
	queueDeclareOK method = classQueue<<16 | 11
	queueBind      method = classQueue<<16 | 20
	queueBindOK    method = classQueue<<16 | 21
	queuePurge     method = classQueue<<16 | 30
	queuePurgeOK   method = classQueue<<16 | 31
	queueDelete    method = classQueue<<16 | 40
	queueDeleteOK  method = classQueue<<16 | 41
	queueUnbind    method = classQueue<<16 | 50
	queueUnbindOK  method = classQueue<<16 | 51

	basicQos          method = classBasic<<16 | 10
	basicQosOK        method = classBasic<<16 | 11
	basicConsume      method = classBasic<<16 | 20
	basicConsumeOK    method = classBasic<<16 | 21
	basicCancel       method = classBasic<<16 | 30
	basicCancelOK     method = classBasic<<16 | 31
	basicPublish      method = classBasic<<16 | 40
	basicReturn       method = classBasic<<16 | 50
	basicDeliver      method = classBasic<<16 | 60
	basicGet          method = classBasic<<16 | 70
	basicGetOK        method = classBasic<<16 | 71
	basicGetEmpty     method = classBasic<<16 | 72
	basicAck          method = classBasic<<16 | 80
	basicReject       method = classBasic<<16 | 90
	basicRecoverAsync method = classBasic<<16 | 100
	basicRecover      method = classBasic<<16 | 110
	basicRecoverOK    method = classBasic<<16 | 111
	basicNack         method = classBasic<<16 | 120

	confirmSelect   method = classConfirm<<16 | 10
	confirmSelectOK method = classConfirm<<16 | 11
)

// fault is an error that ends a channel, or a connection, with a reply code (section 1.2) and RabbitMQ's text.
type fault struct {
	code   uint16
	text   string
	hard   bool // it ends the connection
	method method
}

// over says which method the fault is over.
func (f *fault) over(m method) *fault {
	f.method = m
	return f
}

func (f *fault) Error() string { return fmt.Sprintf("%d %s", f.code, f.text) }

// What ends a channel.
func accessRefused(format string, args ...any) *fault {
	return soft(403, "ACCESS_REFUSED", format, args)
}
func notFound(format string, args ...any) *fault { return soft(404, "NOT_FOUND", format, args) }
func resourceLocked(format string, args ...any) *fault {
	return soft(405, "RESOURCE_LOCKED", format, args)
}

func preconditionFailed(format string, args ...any) *fault {
	return soft(406, "PRECONDITION_FAILED", format, args)
}

func soft(code uint16, name, format string, args []any) *fault {
	return &fault{code: code, text: name + " - " + fmt.Sprintf(format, args...)}
}

// What ends a connection.
func hard(code uint16, name, format string, args ...any) *fault {
	return &fault{code: code, text: name + " - " + fmt.Sprintf(format, args...), hard: true}
}

func syntaxError(format string, args ...any) *fault {
	return hard(502, "SYNTAX_ERROR", format, args...)
}

func commandInvalid(format string, args ...any) *fault {
	return hard(503, "COMMAND_INVALID", format, args...)
}

func channelError(format string, args ...any) *fault {
	return hard(504, "CHANNEL_ERROR", format, args...)
}

func unexpectedFrame(format string, args ...any) *fault {
	return hard(505, "UNEXPECTED_FRAME", format, args...)
}

func notAMethod() *fault {
	return unexpectedFrame("expected method frame, got non method frame instead")
}

func notAllowed(format string, args ...any) *fault { return hard(530, "NOT_ALLOWED", format, args...) }

func notImplemented(format string, args ...any) *fault {
	return hard(540, "NOT_IMPLEMENTED", format, args...)
}

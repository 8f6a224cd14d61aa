package engine

import (
	"iter"
	"maps"
	"time"
	"unsafe"
)

// Message is one message on its way through a pipeline. Properties and headers survive the hop
// unchanged unless a stage changes them.
//
// A message belongs to one goroutine at a time: the stage that was handed it may change its fields
// until Process returns. The bytes of Body are never written in place, because a clone shares them:
// replace the slice. Headers look after themselves.
type Message struct {
	// Body is the payload, byte for byte as it arrived until a stage replaces it.
	Body []byte
	// Properties are the AMQP basic properties other than the headers table.
	Properties Properties
	// Headers is the AMQP headers table.
	Headers Headers
	// Exchange and RoutingKey are those that the message was published with.
	Exchange, RoutingKey string
	// DeliveryCount is the number of failed deliveries that the broker has counted (quorum queues), or 0.
	DeliveryCount int64
	// Redelivered reports that the broker has delivered this message before.
	Redelivered bool

	sole       bool // no clone has what is in decoded
	entry      *entry
	targets    []Target
	failure    *Failure
	decoded    any
	decodedFor []byte
}

// Properties are the basic properties of AMQP 0-9-1 (section 1.8 of the specification), typed. A zero
// value means that the property is absent; AMQP tells an absent property from an empty one, but no
// broker acts on the difference.
type Properties struct {
	ContentType     string
	ContentEncoding string
	DeliveryMode    uint8 // 0 absent, 1 transient, 2 persistent
	Priority        uint8 // 0 to 255; 0 is also what an absent priority means
	CorrelationID   string
	ReplyTo         string
	Expiration      string // milliseconds, as decimal digits
	MessageID       string
	Timestamp       time.Time // whole seconds
	Type            string
	UserID          string
	AppID           string
}

// Decimal is an AMQP decimal: Value / 10^Scale.
type Decimal struct {
	Scale uint8
	Value int32
}

// NewMessage returns a message with the given body and headers, for sources, stages and tests. It
// takes over the map: the caller does not touch it again.
func NewMessage(body []byte, headers map[string]any) *Message {
	return &Message{Body: body, Headers: HeadersOf(headers)}
}

// Clone returns a second message with the same content. Body and headers are shared until one side
// writes. The clone counts towards the same delivery: emit it, or let it go.
func (m *Message) Clone() *Message {
	c := new(Message)
	m.cloneTo(c)
	return c
}

func (m *Message) cloneTo(c *Message) {
	if !m.Headers.shared || m.sole { // else many goroutines may be reading it
		m.Headers.shared, m.sole = true, false
	}
	*c = *m
}

// SetDecoded keeps what a decoder made of the present Body, so that the next reader need not decode
// again. v must be safe to read from many goroutines, because clones share it; no other message has it yet.
func (m *Message) SetDecoded(v any) {
	m.decoded, m.decodedFor, m.sole = v, m.Body, true
}

// Decoded returns what SetDecoded kept, or nil once Body has been replaced.
func (m *Message) Decoded() any {
	if len(m.Body) != len(m.decodedFor) || unsafe.SliceData(m.Body) != unsafe.SliceData(m.decodedFor) {
		return nil
	}
	return m.decoded
}

// TakeDecoded is Decoded for a caller that is going to change what it is given. The message no longer has it then; where a clone has it,
// too, TakeDecoded returns nil, and nothing changes.
func (m *Message) TakeDecoded() any {
	v := m.Decoded()
	if v == nil || !m.sole {
		return nil
	}
	m.decoded, m.decodedFor = nil, nil
	return v
}

// Failure returns what went wrong with the message, on its way to a sink that takes failed
// messages; nil elsewhere.
func (m *Message) Failure() *Failure { return m.failure }

// SendTo chooses where the message goes when it reaches the end of its pipeline, besides the sinks
// that take every message. A later call replaces the choice of an earlier one.
func (m *Message) SendTo(targets ...Target) { m.targets = targets }

// Targets returns what SendTo chose. The slice is shared: do not write to it.
func (m *Message) Targets() []Target { return m.targets }

// Headers is an AMQP table: what a message carries beside its properties. Values are nil, bool,
// int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, string, []byte, time.Time,
// [Decimal], map[string]any and []any; an integer keeps its width. Values are shared between clones:
// replace a nested table or array, never write into it.
//
// The zero value is an empty table. Reading is safe from many goroutines; Set and Delete belong to
// the owner of the message and copy the table first when a clone shares it.
type Headers struct {
	encoded EncodedHeaders // instead of a table, as long as their source's encoding will do
	table   map[string]any
	shared  bool
}

// EncodedHeaders is a headers table in the encoding in which it came: what nobody looks at need not be decoded, and a sink
// that knows the encoding sends it on as it is. It never changes, and is safe to use from many goroutines. Its values have the types that
// [Headers] names.
type EncodedHeaders interface {
	// Get returns the value of a header and whether it is there.
	Get(key string) (value any, ok bool)
	// Text returns the value of a header that is a string; ok is false for any other, and for none.
	Text(key string) (text string, ok bool)
	// Len returns how many headers there are.
	Len() int
	// Table decodes all of it, into a table of the caller's own.
	Table() map[string]any
	// With returns the table with another value of a header, or ok=false where the encoding has no such value, or no room.
	With(key string, value any) (changed EncodedHeaders, ok bool)
	// Without returns the table without a header.
	Without(key string) EncodedHeaders
}

// HeadersOf makes headers of a table, which the caller does not touch again.
func HeadersOf(table map[string]any) Headers { return Headers{table: table} }

// HeadersFrom makes headers of an encoded table.
func HeadersFrom(e EncodedHeaders) Headers { return Headers{encoded: e} }

// Encoded returns the headers in the encoding in which they came, with what has been set since, or nil where they are a table.
func (h *Headers) Encoded() EncodedHeaders { return h.encoded }

// Get returns the value of a header and whether it is there; a void header is there and nil.
func (h *Headers) Get(key string) (any, bool) {
	if h.encoded != nil {
		return h.encoded.Get(key)
	}
	v, ok := h.table[key]
	return v, ok
}

// Text returns the value of a header that is a string; ok is false for any other, and for none. Unlike Get it never allocates.
func (h *Headers) Text(key string) (text string, ok bool) {
	if h.encoded != nil {
		return h.encoded.Text(key)
	}
	text, ok = h.table[key].(string)
	return text, ok
}

// Set gives a header a value.
func (h *Headers) Set(key string, value any) {
	if h.encoded != nil {
		if changed, ok := h.encoded.With(key, value); ok {
			h.encoded = changed
			return
		}
		*h = HeadersOf(h.encoded.Table())
	}
	h.own()
	h.table[key] = value
}

// Delete removes a header; removing one that is not there does nothing.
func (h *Headers) Delete(key string) {
	if h.encoded != nil {
		h.encoded = h.encoded.Without(key)
		return
	}
	if _, ok := h.table[key]; !ok {
		return
	}
	h.own()
	delete(h.table, key)
}

// Len returns how many headers there are.
func (h *Headers) Len() int {
	if h.encoded != nil {
		return h.encoded.Len()
	}
	return len(h.table)
}

// All yields every header, in no particular order.
func (h *Headers) All() iter.Seq2[string, any] { return maps.All(h.Table()) }

// Table returns the headers as a table that the caller must not change.
func (h *Headers) Table() map[string]any {
	if h.encoded != nil {
		return h.encoded.Table()
	}
	return h.table
}

func (h *Headers) own() {
	switch {
	case h.table == nil:
		h.table = make(map[string]any)
	case h.shared:
		h.table = maps.Clone(h.table)
	}
	h.shared = false
}

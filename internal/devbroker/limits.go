package devbroker

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// limits are what the arguments of a queue say.
type limits struct {
	ttl, expires         time.Duration // -1: none
	maxLength, maxBytes  int           // -1: none
	rejectPublish, toDLX bool          // x-overflow
	dlx, dlxKey          *string       // nil: none
	maxPriority          int
	kind                 string // x-queue-type
	deliveryLimit        int    // -1: none
	single               bool   // x-single-active-consumer
}

// readLimits checks the arguments of a queue.
func readLimits(name, vhost string, args table) (l limits, f *fault) {
	l = limits{ttl: -1, expires: -1, maxLength: -1, maxBytes: -1, deliveryLimit: -1, kind: "classic"}
	for _, a := range args {
		if _, isText := a.value.(string); !isText && strings.HasPrefix(a.key, "x-dead-letter-") {
			return l, preconditionFailed("invalid type '%s' for arg '%s' in queue '%s' in vhost '%s'", typeName(a.value), a.key, name, vhost)
		}
		if why := l.read(a.key, a.value); why != "" {
			return l, invalidArg(a.key, "queue", name, vhost, why)
		}
	}
	for _, a := range args {
		if kind := only[a.key]; kind != "" && kind != l.kind {
			return l, preconditionFailed("invalid arg '%s' for queue '%s' in vhost '%s' of queue type rabbit_%s_queue", a.key, name, vhost, l.kind)
		}
	}
	if l.quorum() && l.toDLX { // which it does not do
		l.rejectPublish, l.toDLX = false, false
	}
	if l.dlxKey != nil && l.dlx == nil {
		return l, invalidArg("x-dead-letter-routing-key", "queue", name, vhost, "routing_key_but_no_dlx_defined")
	}
	return l, nil
}

// only names the type of queues that an argument is for; other queues are refused with it.
var only = map[string]string{
	"x-max-priority": "classic", "x-queue-mode": "classic", "x-queue-version": "classic", "x-queue-master-locator": "classic",
	"x-delivery-limit": "quorum", "x-dead-letter-strategy": "quorum", "x-queue-leader-locator": "quorum", "x-quorum-initial-group-size": "quorum",
	"x-max-in-memory-length": "quorum", "x-max-in-memory-bytes": "quorum",
	"x-max-age": "stream", "x-stream-max-segment-size-bytes": "stream", "x-initial-cluster-size": "stream",
}

// read reads an argument, and says why it cannot be; "" if it can. It does not look at those that it does not know.
func (l *limits) read(key string, v any) (why string) {
	text, _ := v.(string)
	switch key {
	case "x-message-ttl":
		return milliseconds(v, 0, &l.ttl)
	case "x-expires":
		return milliseconds(v, 1, &l.expires)
	case "x-max-length":
		return whole(v, 0, math.MaxInt64, &l.maxLength)
	case "x-max-length-bytes":
		return whole(v, 0, math.MaxInt64, &l.maxBytes)
	case "x-max-priority":
		return whole(v, 0, 255, &l.maxPriority)
	case "x-delivery-limit":
		return whole(v, 0, math.MaxInt64, &l.deliveryLimit)
	case "x-dead-letter-exchange":
		l.dlx = &text
	case "x-dead-letter-routing-key":
		l.dlxKey = &text
	case "x-single-active-consumer":
		is, ok := v.(bool)
		l.single = is
		return unlessType(ok, v)
	case "x-overflow":
		l.rejectPublish, l.toDLX = text != "drop-head", text == "reject-publish-dlx"
		return oneOf(v, "invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx")
	case "x-queue-type":
		if l.kind = text; text == "stream" {
			return "streams are not in this broker"
		}
		return oneOf(v, `"unsupported queue type '`+text+`'"`, "classic", "quorum")
	case "x-queue-mode":
		return oneOf(v, `"unsupported queue mode '`+text+`'"`, "default", "lazy")
	case "x-queue-version":
		if n, ok := integer(v); ok && n != 1 && n != 2 {
			return fmt.Sprintf(`"unsupported queue version '%d'"`, n)
		}
	}
	return ""
}

func unlessType(ok bool, v any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf("{unacceptable_type,%s}", typeName(v))
}

func oneOf(v any, otherwise string, texts ...string) string {
	text, ok := v.(string)
	if ok && !slices.Contains(texts, text) {
		return otherwise
	}
	return unlessType(ok, v)
}

func whole(v any, least, most int64, to *int) string {
	n, ok := integer(v)
	if !ok {
		return notInteger(v)
	}
	*to = int(n)
	return outOfRange(n, least, most)
}

func milliseconds(v any, least int64, to *time.Duration) string {
	n := 0
	why := whole(v, least, math.MaxUint32, &n)
	*to = time.Duration(n) * time.Millisecond
	return why
}

func (l *limits) quorum() bool { return l.kind == "quorum" }

// invalidArg is what RabbitMQ says of an argument that it cannot use.
func invalidArg(arg, kind, name, vhost, why string) *fault {
	return preconditionFailed("invalid arg '%s' for %s '%s' in vhost '%s': %s", arg, kind, name, vhost, why)
}

// outOfRange says why a number cannot be; "" if it can.
func outOfRange(n, least, most int64) string {
	switch {
	case n < 0:
		return fmt.Sprintf("{value_negative,%d}", n)
	case n < least:
		return fmt.Sprintf("{value_zero,%d}", n)
	case n > most:
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return ""
}

func notInteger(v any) string { return fmt.Sprintf(`"expected integer, got %s"`, typeName(v)) }

// typeName is RabbitMQ's name of the type of a value.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "void"
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64:
		return "long"
	case float32:
		return "float"
	case float64:
		return "double"
	case decimal:
		return "decimal"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case time.Time:
		return "timestamp"
	case table:
		return "table"
	}
	return "array"
}

func asText(v any) string {
	s, _ := v.(string)
	return s
}

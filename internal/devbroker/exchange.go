package devbroker

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// exchange routes messages to queues and to other exchanges.
type exchange struct {
	name, kind                    string
	durable, autoDelete, internal bool
	args                          table
	alternate                     string
	bindings                      []*binding // from here
	round                         uint64     // see way
}

// binding leads from an exchange to a queue or to another exchange.
type binding struct {
	queue    *queue
	exchange *exchange
	key      string
	args     table
}

// kinds are the exchange types, and how a binding of each takes a message.
var kinds = map[string]func(b *binding, key string, header lookup) bool{
	"direct":  func(b *binding, key string, _ lookup) bool { return b.key == key },
	"fanout":  func(*binding, string, lookup) bool { return true },
	"topic":   func(b *binding, key string, _ lookup) bool { return topicMatches(b.key, key) },
	"headers": func(b *binding, _ string, header lookup) bool { return headersMatch(b.args, header) },
}

// topicMatches matches a routing key to a pattern of words: * is one word, # is any number of them.
func topicMatches(pattern, key string) bool {
	return wordsMatch(words(pattern), words(key))
}

func words(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// wordsMatch goes back to the last # only, which takes one word more then: whatever a pattern is like, that takes no more steps than pattern
// and key have words, multiplied.
func wordsMatch(pattern, key []string) bool {
	at, afterHash, taken := 0, -1, 0
	for i := 0; i < len(key); {
		switch {
		case at < len(pattern) && pattern[at] == "#":
			at++
			afterHash, taken = at, i
		case at < len(pattern) && (pattern[at] == "*" || pattern[at] == key[i]):
			at++
			i++
		case afterHash >= 0:
			taken++
			at, i = afterHash, taken
		default:
			return false
		}
	}
	for at < len(pattern) && pattern[at] == "#" {
		at++
	}
	return at == len(pattern)
}

// headersMatch compares the arguments of a binding with the headers of a message, by x-match.
func headersMatch(args table, header lookup) bool {
	mode, _ := args.get("x-match")
	text, _ := mode.(string)
	anyOf := strings.HasPrefix(text, "any")
	withX := strings.HasSuffix(text, "-with-x")
	for _, f := range args {
		if f.key == "x-match" || !withX && strings.HasPrefix(f.key, "x-") {
			continue
		}
		v, there := header(f.key)
		if ok := there && (f.value == nil || sameValue(f.value, v)); ok == anyOf {
			return anyOf
		}
	}
	return !anyOf
}

func sameValue(a, b any) bool {
	if x, ok := integer(a); ok {
		y, ok := integer(b)
		return ok && x == y
	}
	if x, ok := a.([]byte); ok {
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	return reflect.DeepEqual(a, b)
}

// way is a message's, through exchanges.
type way struct {
	vhost  *vhost
	round  uint64 // marks the queues and exchanges where it has been
	keys   []string
	header lookup
	to     []*queue
}

// route returns the queues that a message goes to, each once.
func (v *vhost) route(x *exchange, m *message) []*queue {
	headers := m.properties.headers
	w := &way{vhost: v, round: v.nextRound(), keys: append([]string{m.key}, copies(headers)...), header: headers.lookup()}
	w.visit(x)
	return w.to
}

func (w *way) visit(x *exchange) {
	if x.round == w.round {
		return
	}
	x.round = w.round
	found := w.follow(x)
	if alternate := w.vhost.exchanges[x.alternate]; !found && alternate != nil && x.alternate != "" {
		w.visit(alternate)
	}
}

// follow goes where the bindings of x lead to, and reports whether there was any that took the message.
func (w *way) follow(x *exchange) (found bool) {
	if x.name == "" { // every queue is bound to it, with its name
		for _, key := range w.keys {
			if q := w.vhost.queues[key]; q != nil {
				w.reach(q)
				found = true
			}
		}
		return found
	}
	matches := kinds[x.kind]
	for _, b := range x.bindings {
		if !slices.ContainsFunc(w.keys, func(key string) bool { return matches(b, key, w.header) }) {
			continue
		}
		found = true
		if b.queue != nil {
			w.reach(b.queue)
		} else {
			w.visit(b.exchange)
		}
	}
	return found
}

func (w *way) reach(q *queue) {
	if q.once(w.round) {
		w.to = append(w.to, q)
	}
}

// copyHeaders name more routing keys.
var copyHeaders = []string{"CC", "BCC"}

// maxCopies is how many keys each of them may have: every binding is compared with all of them.
const maxCopies = 100

// copies returns the routing keys of the headers CC and BCC.
func copies(headers table) (keys []string) {
	for _, name := range copyHeaders {
		v, _ := headers.get(name)
		list, _ := v.([]any)
		for _, k := range list {
			if key, ok := k.(string); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// declareExchange makes an exchange, or compares it with the one that there is.
func (v *vhost) declareExchange(want *exchange) *fault {
	if have := v.exchanges[want.name]; have != nil {
		return have.sameAs(want, v.name)
	}
	if kinds[want.kind] == nil {
		return commandInvalid("unknown exchange type '%s'", want.kind)
	}
	if strings.HasPrefix(want.name, "amq.") {
		return accessRefused("exchange name '%s' contains reserved prefix 'amq.*'", want.name)
	}
	if a, ok := want.args.get("alternate-exchange"); ok {
		name, isText := a.(string)
		if !isText {
			return preconditionFailed("invalid type '%s' for arg 'alternate-exchange' in exchange '%s' in vhost '%s'", typeName(a), want.name, v.name)
		}
		want.alternate = name
	}
	if f := v.server.define(want.args); f != nil {
		return f
	}
	v.exchanges[want.name] = want
	return nil
}

func (x *exchange) sameAs(want *exchange, vhost string) *fault {
	for _, c := range []struct {
		name       string
		want, have any
	}{
		{"type", want.kind, x.kind}, {"durable", want.durable, x.durable}, {"auto_delete", want.autoDelete, x.autoDelete}, {"internal", want.internal, x.internal},
	} {
		if c.want != c.have {
			return inequivalent(c.name, "exchange", x.name, vhost, c.want, c.have)
		}
	}
	w, _ := want.args.get("alternate-exchange")
	h, _ := x.args.get("alternate-exchange")
	if !sameValue(w, h) {
		return inequivalent("alternate-exchange", "exchange", x.name, vhost, w, h)
	}
	return nil
}

// inequivalent is what RabbitMQ says of a declaration that differs from what there is.
func inequivalent(arg, kind, name, vhost string, received, current any) *fault {
	r, c := fmt.Sprintf("'%v'", received), fmt.Sprintf("'%v'", current)
	if typeName(received) != typeName(current) {
		r, c = described(received), described(current)
	}
	return preconditionFailed("inequivalent arg '%s' for %s '%s' in vhost '%s': received %s but current is %s", arg, kind, name, vhost, r, c)
}

// described is how RabbitMQ writes an argument beside one of another type.
func described(v any) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprintf("the value '%v' of type '%s'", v, typeName(v))
}

func sameArgs(a, b table) bool {
	if len(a) != len(b) {
		return false
	}
	other := b.lookup()
	for _, f := range a {
		if v, ok := other(f.key); !ok || !sameValue(f.value, v) {
			return false
		}
	}
	return true
}

func (b *binding) is(o *binding) bool {
	return b.queue == o.queue && b.exchange == o.exchange && b.key == o.key && sameArgs(b.args, o.args)
}

func (v *vhost) bind(x *exchange, b *binding) *fault {
	if m, ok := b.args.get("x-match"); ok && x.kind == "headers" && !slices.Contains([]any{"all", "any", "all-with-x", "any-with-x"}, m) {
		return preconditionFailed("Invalid x-match field value <<\"%v\">>; expected all, any, all-with-x, or any-with-x", m)
	}
	if slices.ContainsFunc(x.bindings, b.is) {
		return nil
	}
	if f := v.server.define(b.args); f != nil {
		return f
	}
	x.bindings = append(x.bindings, b)
	return nil
}

// unbind takes bindings away; an exchange that is deleted with its last binding goes.
func (v *vhost) unbind(x *exchange, gone func(*binding) bool) {
	before := len(x.bindings)
	x.bindings = slices.DeleteFunc(x.bindings, func(b *binding) bool {
		if !gone(b) {
			return false
		}
		v.server.undefine(b.args)
		return true
	})
	if x.autoDelete && len(x.bindings) == 0 && before > 0 {
		v.deleteExchange(x)
	}
}

func (v *vhost) deleteExchange(x *exchange) {
	delete(v.exchanges, x.name)
	v.server.undefine(x.args)
	for _, b := range x.bindings {
		v.server.undefine(b.args)
	}
	for _, other := range v.exchanges {
		v.unbind(other, func(b *binding) bool { return b.exchange == x })
	}
}

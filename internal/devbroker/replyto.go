package devbroker

import (
	"encoding/binary"
	"strings"
)

// directReplyTo is RabbitMQ's name for the answers to what a channel publishes: no queue, but the channel itself.
const directReplyTo = "amq.rabbitmq.reply-to"

// answers is a channel's subscription to them.
type answers struct {
	tag  string // of the consumer
	name string // where answers are published to
}

func (ch *channel) consumeAnswers(tag string, noAck, nowait bool) *fault {
	switch {
	case ch.answers != nil:
		return preconditionFailed("reply consumer already set")
	case !noAck:
		return preconditionFailed("reply consumer cannot acknowledge")
	}
	ch.answers = &answers{tag, directReplyTo + "." + random()}
	ch.vhost().answers[ch.answers.name] = ch
	ch.answer(nowait, basicConsumeOK, func(b []byte) []byte { return appendShortstr(b, tag) })
	return nil
}

// cancelAnswers ends the subscription.
func (ch *channel) cancelAnswers() {
	if ch.answers != nil {
		delete(ch.vhost().answers, ch.answers.name)
		ch.answers = nil
	}
}

// asks puts the channel's own name for answers into a message that asks for one.
func (ch *channel) asks(p *properties) *fault {
	if p.replyTo != directReplyTo {
		return nil
	}
	if ch.answers == nil {
		return preconditionFailed("fast reply consumer does not exist")
	}
	p.raw, p.replyTo = nil, ch.answers.name
	return nil
}

// replies delivers an answer. It returns false for a message that is none; reached says whether somebody waits for it.
func (v *vhost) replies(m *message) (isAnswer, reached bool) {
	if m.exchange != "" || !strings.HasPrefix(m.key, directReplyTo+".") {
		return false, false
	}
	ch := v.answers[m.key]
	if ch == nil || ch.closing || !ch.conn.mayDeliver() {
		return true, false
	}
	ch.lastTag++
	b := appendFrame(nil, frameMethod, ch.number, func(b []byte) []byte {
		b = appendShortstr(binary.BigEndian.AppendUint32(b, uint32(basicDeliver)), ch.answers.tag)
		return (&entry{message: m}).appendEnvelope(b, ch.lastTag)
	})
	ch.conn.send(m.appendContent(b, ch.number, &m.properties, ch.conn.frameMax))
	return true, true
}

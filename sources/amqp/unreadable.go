package amqp

import (
	"log/slog"
	"time"

	"github.com/pipeamqp/pipe/pool"
)

// logPause is how often unreadable deliveries are logged, at most.
const logPause = time.Second

// unreadable deals with deliveries whose headers cannot be read. It is for one goroutine.
type unreadable struct {
	reject bool
	log    *slog.Logger

	logged time.Time
	silent int // deliveries that were not logged since
}

// settle gives a delivery up to the dead-letter exchange, or leaves it unacknowledged.
func (u *unreadable) settle(d *pool.Delivery) {
	what := "held unacknowledged until the connection or the pipeline ends"
	if u.reject {
		what = "rejected: it goes to the dead-letter exchange"
		d.Reject()
	} else {
		d.Abandon()
	}
	if time.Since(u.logged) < logPause {
		u.silent++
		return
	}
	attrs := []any{"error", d.Unreadable, "message_id", d.MessageId, "exchange", d.Exchange, "routing_key", d.RoutingKey}
	if u.silent > 0 {
		attrs = append(attrs, "not_logged_before", u.silent)
	}
	u.log.Warn("a delivery cannot be passed on: "+what, attrs...)
	u.logged, u.silent = time.Now(), 0
}

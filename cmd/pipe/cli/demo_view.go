package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/pool"
)

// demo feeds made-up orders to the queues that pipelines consume, and shows what arrives elsewhere.
type demo struct {
	pool    *pool.Pool
	every   time.Duration // between orders
	count   int           // 0: until the demo is stopped
	inputs  []string      // queues
	outputs []string

	lines  io.Writer
	colour bool
	width  func() int // 0: not a terminal, nothing is cut
	column int        // how wide the widest queue's name is

	fed atomic.Int64

	mu   sync.Mutex
	seen map[string]int64 // by output
}

func newDemo(c *config.Config, url string, out *output, flags demoFlags) (*demo, error) {
	p, err := pool.Open(pool.Options{Name: "demo", URLs: []string{url}, Logger: out.log})
	if err != nil {
		return nil, err
	}
	d := &demo{
		pool: p, every: time.Duration(float64(time.Second) / flags.rate), count: flags.count,
		lines: out.lines, colour: out.colour, width: out.width, seen: make(map[string]int64),
	}
	d.inputs, d.outputs = ends(c)
	for _, queue := range slices.Concat(d.inputs, d.outputs) {
		d.column = max(d.column, len(queue))
	}
	return d, nil
}

func publishing(queue string, number int, body []byte) *pool.Publishing {
	return &pool.Publishing{
		RoutingKey: queue, Mandatory: true,
		Publishing: amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: time.Now(),
			MessageId: fmt.Sprintf("demo-%d", number), Body: body,
		},
	}
}

// ends returns the queues that pipelines consume, and the declared queues that none does.
func ends(c *config.Config) (inputs, outputs []string) {
	for _, p := range c.Pipelines {
		if s, ok := p.Source.(interface{ Queue() string }); ok {
			inputs = append(inputs, s.Queue())
		}
	}
	for _, uses := range c.Uses {
		for _, e := range uses.Entities {
			if e.Kind == "queue" && !slices.Contains(inputs, e.Name) {
				outputs = append(outputs, e.Name)
			}
		}
	}
	for _, queues := range []*[]string{&inputs, &outputs} {
		slices.Sort(*queues)
		*queues = slices.Compact(*queues)
	}
	return inputs, outputs
}

// view shows what arrives in a queue until ctx ends.
func (d *demo) view(ctx context.Context, queue string) {
	_ = d.pool.Consume(ctx, pool.ConsumeOptions{Queue: queue}, func(chunk []pool.Delivery) {
		for i := range chunk {
			d.showSeen(queue, &chunk[i])
			chunk[i].Ack()
		}
	})
}

func (d *demo) showFed(queue string, body []byte) {
	d.line(dim, queue, "<-", string(body))
}

func (d *demo) showSeen(queue string, delivery *pool.Delivery) {
	d.mu.Lock()
	d.seen[queue]++
	d.mu.Unlock()
	text := string(delivery.Body)
	if h := readable(delivery.Headers); h != "" {
		text = h + " " + text
	}
	d.line(d.style(queue), queue, "->", text)
}

// readable writes the headers that are plain text, but for those in which the broker notes the past.
func readable(headers amqp.Table) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(headers)) {
		if value, ok := headers[key].(string); ok && !strings.HasPrefix(key, "x-first-death-") && !strings.HasPrefix(key, "x-last-death-") {
			texts = append(texts, key+"="+value)
		}
	}
	return strings.Join(texts, " ")
}

var outputStyles = []string{green, cyan, yellow, purple, blue, red}

// style gives each output a colour of its own.
func (d *demo) style(queue string) string {
	return outputStyles[max(0, slices.Index(d.outputs, queue))%len(outputStyles)]
}

// line writes one line, shortened to the terminal's width.
func (d *demo) line(style, queue, arrow, text string) {
	head := fmt.Sprintf("%-*s %s ", d.column, queue, arrow)
	if width := d.width(); width > 0 {
		text = cutMiddle(text, width-len(head))
	}
	if style == dim {
		head, text = paint(d.colour, dim, head+text), ""
	} else {
		head = paint(d.colour, style, head)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = fmt.Fprintln(d.lines, head+text)
}

// settle waits until nothing has arrived for a while.
func (d *demo) settle() {
	const while = 300 * time.Millisecond
	for before := int64(-1); before != d.seenTotal(); time.Sleep(while) {
		before = d.seenTotal()
	}
}

func (d *demo) seenTotal() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, count := range d.seen {
		n += count
	}
	return n
}

// summary tells what went in and what came out.
func (d *demo) summary(s *session) {
	t := total(s.status().pipelines)
	_, _ = fmt.Fprintf(d.lines, "\n%s orders in, %s dropped on purpose\n", grouped(d.fed.Load()), grouped(t.Dropped))
	for _, queue := range d.outputs {
		_, _ = fmt.Fprintf(d.lines, "  %-*s %s\n", d.column, queue, grouped(d.seen[queue]))
	}
}

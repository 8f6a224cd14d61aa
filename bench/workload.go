package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// workload is the same work for every contender, and how to check what came out.
type workload struct {
	name string
	// about says what is done, for the report.
	about string
	// hcl is the pipeline file, with QUEUE_TYPE to fill in.
	hcl string
	// inputs are the queues that the messages are put into in turn; by default bench.in.
	inputs []string
	// body is that of message i; by default an order of 1 kB.
	body func(i int) []byte
	// expect tells what message i becomes.
	expect func(i int) []arrival
	// key tells which messages keep their order among each other; by default all that arrive in one queue.
	key func(i int) string
	// transform is the work as a loop by hand does it, with encoding/json.
	transform transformation
	// bytewise, if there is one, is the same on the bytes of this very JSON.
	bytewise transformation
}

// arrival is a message that comes out.
type arrival struct {
	queue, id string
	check     func(d *amqp.Delivery) error
}

const declared = `
declare {
  exchange "bench" { type = "topic" }
  queue "bench.in"    { type = "QUEUE_TYPE" }
  queue "bench.out"   { type = "QUEUE_TYPE" }
  queue "bench.rest"  { type = "QUEUE_TYPE" }
  queue "bench.third" { type = "QUEUE_TYPE" }
  binding {
    from = exchange.bench
    to   = queue["bench.out"]
    key  = "eu.#"
  }
  binding {
    from = exchange.bench
    to   = queue["bench.rest"]
    key  = "row"
  }
}
`

const passthroughHCL = declared + `
pipeline "bench" {
  source "amqp" { queue = queue["bench.in"] }
  sink "amqp" "out" { queue = queue["bench.out"] }
}
`

var passthrough1k = workload{
	name: "passthrough 1 kB", about: "a queue to a queue, unchanged",
	hcl:       passthroughHCL,
	expect:    unchanged(order),
	transform: passthrough,
}

var workloads = []workload{
	passthrough1k,
	{
		name: "passthrough 10 kB", about: "a queue to a queue, unchanged",
		hcl:       passthroughHCL,
		body:      largeOrder,
		expect:    unchanged(largeOrder),
		transform: passthrough,
	},
	{
		name: "filter+map+route 1 kB", about: "drop one in eight by a field, set a field and a header, route by a third field",
		hcl: declared + `
pipeline "bench" {
  source "amqp" { queue = queue["bench.in"] }

  stage "filter" "paid" {
    keep = body.status == "paid"
  }
  stage "map" "shape" {
    set = {
      body.total_eur        = round(body.total * 0.92, 2)
      msg.headers["x-tier"] = get(body.customer.tier, "none")
    }
  }
  stage "route" "region" {
    case {
      when = contains(["eu-west", "eu-north"], body.region)
      to   = [sink.eu]
    }
    default { to = [sink.rest] }
  }
  sink "amqp" "eu" {
    exchange    = exchange.bench
    routing_key = "eu.${lower(body.region)}"
  }
  sink "amqp" "rest" {
    exchange    = exchange.bench
    routing_key = "row"
  }
}
`,
		expect:    shaped,
		transform: filterMapRoute,
		bytewise:  filterMapRouteBytes,
	},
	{
		name: "eight stages 1 kB", about: "three filters and five maps, one after the other",
		hcl: declared + `
pipeline "bench" {
  source "amqp" { queue = queue["bench.in"] }

  stage "filter" "paid"     { keep = body.status == "paid" }
  stage "map"    "total"    { set = { body.total_eur = round(body.total * 0.92, 2) } }
  stage "map"    "tier"     { set = { msg.headers["x-tier"] = get(body.customer.tier, "none") } }
  stage "filter" "positive" { keep = body.total_eur > 0 }
  stage "map"    "region"   { set = { body.region = upper(body.region) } }
  stage "map"    "note"     { unset = [body.note] }
  stage "filter" "customer" { keep = has(body.customer.id) && length(body.items) > 0 }
  stage "map"    "count"    { set = { body.count = length(body.items) } }
  sink "amqp" "out" { queue = queue["bench.out"] }
}
`,
		expect:    chained,
		transform: eightStages,
	},
	{
		name: "fan-out to 3, 1 kB", about: "every message to three queues",
		hcl: declared + `
pipeline "bench" {
  source "amqp" { queue = queue["bench.in"] }
  sink "amqp" "out"   { queue = queue["bench.out"] }
  sink "amqp" "rest"  { queue = queue["bench.rest"] }
  sink "amqp" "third" { queue = queue["bench.third"] }
}
`,
		expect: func(i int) []arrival {
			same := sameBody(order(i))
			id := strconv.Itoa(i)
			return []arrival{{"bench.out", id, same}, {"bench.rest", id, same}, {"bench.third", id, same}}
		},
		transform: fanOut,
	},
	{
		name: "split 1→20", about: "a list of twenty becomes twenty messages",
		hcl: declared + `
pipeline "bench" {
  source "amqp" { queue = queue["bench.in"] }
  stage "split" "items" { each = body.items }
  sink "amqp" "out" { queue = queue["bench.out"] }
}
`,
		body: listed,
		expect: func(i int) (all []arrival) {
			for k := range listLength {
				all = append(all, arrival{"bench.out", fmt.Sprintf("%d/%d", i, k+1), sameBody(listItem(i, k))})
			}
			return all
		},
		transform: split,
	},
	{
		name: "order by key 1 kB", about: "a field is set by as many goroutines as are free; each customer's messages stay in order",
		hcl: declared + `
pipeline "bench" {
  order_by    = body.customer.id
  concurrency = 16
  source "amqp" { queue = queue["bench.in"] }
  stage "map" "total" { set = { body.total_eur = round(body.total * 0.92, 2) } }
  sink "amqp" "out" { queue = queue["bench.out"] }
}
`,
		expect: func(i int) []arrival {
			return []arrival{{"bench.out", strconv.Itoa(i), wantJSON(i, func(o map[string]any) { o["total_eur"] = totalEUR(i) })}}
		},
		key:       customer,
		transform: setTotal,
	},
}

// pipelines is passthrough in n pipelines of one process.
func pipelines(n int) workload {
	w := passthrough1k
	w.name = fmt.Sprintf("%d pipelines", n)
	w.inputs = make([]string, n)
	var b strings.Builder
	b.WriteString(declared)
	for k := range n {
		w.inputs[k] = fmt.Sprintf("bench.in.%d", k)
		fmt.Fprintf(&b, `
declare {
  queue "bench.in.%[1]d"  { type = "QUEUE_TYPE" }
  queue "bench.out.%[1]d" { type = "QUEUE_TYPE" }
}
pipeline "bench%[1]d" {
  source "amqp" { queue = queue["bench.in.%[1]d"] }
  sink "amqp" "out" { queue = queue["bench.out.%[1]d"] }
}
`, k)
	}
	w.hcl = b.String()
	w.expect = func(i int) []arrival {
		return []arrival{{fmt.Sprintf("bench.out.%d", i%n), strconv.Itoa(i), sameBody(order(i))}}
	}
	return w
}

// queues returns those that messages go into.
func (w *workload) queues() []string {
	if len(w.inputs) > 0 {
		return w.inputs
	}
	return []string{"bench.in"}
}

// message is message i as it is put into its queue.
func (w *workload) message(i int) amqp.Publishing {
	body := order
	if w.body != nil {
		body = w.body
	}
	return amqp.Publishing{
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		MessageId:    strconv.Itoa(i),
		Headers:      amqp.Table{"x-origin": "bench", "x-number": int64(i)},
		Body:         body(i),
	}
}

func unchanged(body func(int) []byte) func(int) []arrival {
	return func(i int) []arrival { return []arrival{{"bench.out", strconv.Itoa(i), sameBody(body(i))}} }
}

func sameBody(want []byte) func(*amqp.Delivery) error {
	return func(d *amqp.Delivery) error {
		if !bytes.Equal(d.Body, want) {
			return fmt.Errorf("the body of message %s is\n%s, not\n%s", d.MessageId, d.Body, want)
		}
		return nil
	}
}

// wantJSON checks that a body is the order i with a change, as JSON.
func wantJSON(i int, change func(map[string]any)) func(*amqp.Delivery) error {
	return func(d *amqp.Delivery) error {
		var got, want map[string]any
		if err := json.Unmarshal(d.Body, &got); err != nil {
			return fmt.Errorf("message %d is no longer JSON: %w", i, err)
		}
		if err := json.Unmarshal(order(i), &want); err != nil {
			return err
		}
		change(want)
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if !bytes.Equal(g, w) {
			return fmt.Errorf("message %d is\n%s, not\n%s", i, g, w)
		}
		return nil
	}
}

func tierOrNone(i int) string {
	if t := tier(i); t != "" {
		return t
	}
	return "none"
}

// shaped is what filter, map and route make of message i.
func shaped(i int) []arrival {
	if !paid(i) {
		return nil
	}
	queue, key := "bench.rest", "row"
	if strings.HasPrefix(region(i), "eu-") {
		queue, key = "bench.out", "eu."+region(i)
	}
	body := wantJSON(i, func(o map[string]any) { o["total_eur"] = totalEUR(i) })
	return []arrival{{queue, strconv.Itoa(i), func(d *amqp.Delivery) error {
		if d.Headers["x-tier"] != tierOrNone(i) || d.RoutingKey != key {
			return fmt.Errorf("message %d has tier %v and routing key %q", i, d.Headers["x-tier"], d.RoutingKey)
		}
		return body(d)
	}}}
}

// chained is what eight stages make of message i.
func chained(i int) []arrival {
	if !paid(i) {
		return nil
	}
	body := wantJSON(i, func(o map[string]any) {
		o["total_eur"], o["region"], o["count"] = totalEUR(i), strings.ToUpper(region(i)), float64(len(o["items"].([]any)))
		delete(o, "note")
	})
	return []arrival{{"bench.out", strconv.Itoa(i), func(d *amqp.Delivery) error {
		if d.Headers["x-tier"] != tierOrNone(i) {
			return fmt.Errorf("message %d has tier %v", i, d.Headers["x-tier"])
		}
		return body(d)
	}}}
}

var regions = []string{"eu-west", "eu-north", "us-east", "ap-south"}

func region(i int) string    { return regions[i%len(regions)] }
func paid(i int) bool        { return i%8 != 0 }
func total(i int) float64    { return float64(1000+i%9000) / 100 }
func totalEUR(i int) float64 { return round2(total(i) * 0.92) }
func customer(i int) string  { return fmt.Sprintf("c-%d", i%1000) }

// tier is "" where the customer has none.
func tier(i int) string { return []string{"gold", "silver", ""}[i%3] }

func round2(f float64) float64 { return math.Round(f*100) / 100 }

// order is the order that message i carries: JSON of 1 kB.
func order(i int) []byte { return orderOf(i, 1024) }

func largeOrder(i int) []byte { return orderOf(i, 10<<10) }

func orderOf(i, size int) []byte {
	status, customerTier := "open", ""
	if paid(i) {
		status = "paid"
	}
	if tier(i) != "" {
		customerTier = fmt.Sprintf(`,"tier":%q`, tier(i))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":%d,"status":%q,"region":%q,"total":%.2f,"customer":{"id":%q%s},"items":[`,
		i, status, region(i), total(i), customer(i), customerTier)
	for n := 0; b.Len() < size-124; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"SKU-%06d","quantity":%d,"price":%d.50,"name":"item number %d"}`, i+n, n+1, n+3, n)
	}
	b.WriteString(`],"note":"`)
	b.WriteString(strings.Repeat("x", max(0, size-b.Len()-2)))
	b.WriteString(`"}`)
	return []byte(b.String())
}

const listLength = 20

func listItem(i, k int) []byte {
	return fmt.Appendf(nil, `{"sku":"SKU-%06d","quantity":%d,"price":%d.50,"name":"item number %d"}`, i+k, k+1, k+3, k)
}

// listed is a body with a list of twenty.
func listed(i int) []byte {
	items := make([][]byte, listLength)
	for k := range items {
		items[k] = listItem(i, k)
	}
	return fmt.Appendf(nil, `{"id":%d,"items":[%s]}`, i, bytes.Join(items, []byte(",")))
}

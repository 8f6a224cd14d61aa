package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// workload is the same work for every contender, and how to check what came out.
type workload struct {
	name string
	// hcl is the pipeline file, with QUEUE_TYPE to fill in.
	hcl string
	// outputs are the queues that the messages leave to.
	outputs []string
	// output is where message i goes, "" for nowhere.
	output func(i int) string
	// check compares a delivery with the message that it was.
	check func(i int, d *amqp.Delivery) error
}

const declared = `
declare {
  exchange "bench" { type = "topic" }
  queue "bench.in"   { type = "QUEUE_TYPE" }
  queue "bench.out"  { type = "QUEUE_TYPE" }
  queue "bench.rest" { type = "QUEUE_TYPE" }
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

var workloads = []workload{
	{
		name: "passthrough 1 kB",
		hcl: declared + `
pipeline "bench" {
  source "amqp" { queue = queue["bench.in"] }
  sink "amqp" "out" { queue = queue["bench.out"] }
}
`,
		outputs: []string{"bench.out"},
		output:  func(int) string { return "bench.out" },
		check: func(i int, d *amqp.Delivery) error {
			if !bytes.Equal(d.Body, body(i)) {
				return fmt.Errorf("the body of message %d has changed", i)
			}
			return nil
		},
	},
	{
		name: "filter+map+route 1 kB",
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
		outputs: []string{"bench.out", "bench.rest"},
		output: func(i int) string {
			switch {
			case !paid(i):
				return ""
			case strings.HasPrefix(region(i), "eu-"):
				return "bench.out"
			default:
				return "bench.rest"
			}
		},
		check: checkShaped,
	},
}

var regions = []string{"eu-west", "eu-north", "us-east", "ap-south"}

func region(i int) string { return regions[i%len(regions)] }
func paid(i int) bool     { return i%8 != 0 }
func total(i int) float64 { return float64(1000+i%9000) / 100 }

// tier is "" where the customer has none.
func tier(i int) string { return []string{"gold", "silver", ""}[i%3] }

// body is the order that message i carries: JSON of 1 kB.
func body(i int) []byte {
	status, customerTier := "open", ""
	if paid(i) {
		status = "paid"
	}
	if tier(i) != "" {
		customerTier = fmt.Sprintf(`,"tier":%q`, tier(i))
	}
	head := fmt.Sprintf(`{"id":%d,"status":%q,"region":%q,"total":%.2f,"customer":{"id":"c-%d"%s},"items":[`,
		i, status, region(i), total(i), i%1000, customerTier)
	var b strings.Builder
	b.WriteString(head)
	for n := 0; b.Len() < 900; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"SKU-%06d","quantity":%d,"price":%d.50,"name":"item number %d"}`, i+n, n+1, n+3, n)
	}
	b.WriteString(`],"note":"`)
	b.WriteString(strings.Repeat("x", max(0, 1024-b.Len()-2)))
	b.WriteString(`"}`)
	return []byte(b.String())
}

func checkShaped(i int, d *amqp.Delivery) error {
	var got, want map[string]any
	if err := json.Unmarshal(d.Body, &got); err != nil {
		return fmt.Errorf("message %d is no longer JSON: %w", i, err)
	}
	if err := json.Unmarshal(body(i), &want); err != nil {
		return err
	}
	want["total_eur"] = round2(total(i) * 0.92)
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		return fmt.Errorf("message %d is\n%s, not\n%s", i, g, w)
	}
	wantTier, wantKey := tier(i), "row"
	if wantTier == "" {
		wantTier = "none"
	}
	if strings.HasPrefix(region(i), "eu-") {
		wantKey = "eu." + region(i)
	}
	if d.Headers["x-tier"] != wantTier || d.RoutingKey != wantKey {
		return fmt.Errorf("message %d has tier %v and routing key %q", i, d.Headers["x-tier"], d.RoutingKey)
	}
	return nil
}

func round2(f float64) float64 { return math.Round(f*100) / 100 }

// message is message i as it is put into the queue.
func message(i int) amqp.Publishing {
	return amqp.Publishing{
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		MessageId:    strconv.Itoa(i),
		Headers:      amqp.Table{"x-origin": "bench", "x-number": int64(i)},
		Body:         body(i),
	}
}

func buildPipe(ctx context.Context, to string) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-o", to, "github.com/pipeamqp/pipe/cmd/pipe").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build pipe: %w\n%s", err, out)
	}
	return nil
}

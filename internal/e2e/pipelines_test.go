package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// example is what is put into a file of pipelines/, and what comes out.
type example struct {
	in    string   // the queue that it reads
	input []string // bodies
	out   map[string][]expected
}

type expected struct {
	body    string
	key     string // routing key; "" for any
	headers amqp.Table
}

var examples = map[string]example{
	"route.hcl": {
		in: "orders.in",
		input: []string{
			`{"id":1, "status":"paid", "region":"eu-west", "total":100, "customer":{"tier":"gold"}, "note":"x"}`,
			`{"id":2,"status":"paid","region":"US-EAST","total":10.55,"customer":{}}`,
			`{"id":3,"status":"open","region":"eu-west","total":1}`,
			`{"id":4,"status":"paid","region":"eu-west","total":"to be agreed"}`,
			`not JSON`,
		},
		out: map[string][]expected{
			"orders.eu":   {{`{"id":1, "status":"paid", "region":"eu-west", "total":100, "customer":{"tier":"gold"},"total_eur":92}`, "eu.eu-west", amqp.Table{"x-tier": "gold"}}},
			"orders.rest": {{`{"id":2,"status":"paid","region":"US-EAST","total":10.55,"customer":{},"total_eur":9.71}`, "rest.us-east", amqp.Table{"x-tier": "none"}}},
			"parked":      {{body: `{"id":4,"status":"paid","region":"eu-west","total":"to be agreed"}`}, {body: `not JSON`}},
		},
	},
	"fanout.hcl": {
		in:    "sales.in",
		input: []string{`{ "total": 99.5 }`, `{ "total": 100 }`, `{ "total": "?" }`},
		out: map[string][]expected{
			"sales.archive": {{body: `{ "total": 99.5 }`, key: "sales.in"}, {body: `{ "total": 100 }`, key: "sales.in"}},
			"sales.review":  {{body: `{ "total": 100 }`, headers: amqp.Table{"x-why": "a total of 100"}}},
			"sales.parked":  {{body: `{ "total": "?" }`}},
		},
	},
	"split.hcl": {
		in:    "baskets",
		input: []string{`{"id":7,"items":[{"sku":"tea","qty":2},{"sku":"cup","qty":0},{"sku":"pot","qty":1}]}`, `{"id":8}`},
		out: map[string][]expected{
			"items":          {{body: `{"sku":"tea","qty":2,"order":7}`}, {body: `{"sku":"pot","qty":1,"order":7}`}},
			"baskets.parked": {{body: `{"id":8}`}},
		},
	},
	"errors.hcl": {
		in:    "payments",
		input: []string{`{"id":1,"total":12}`, `{"total":"much"}`},
		out: map[string][]expected{
			"payments.checked": {{body: `{"id":1,"total":12,"net":10}`}},
			"payments.failed":  {{body: `{"total":"much"}`, headers: amqp.Table{"x-pipe-stage": "map.net", "x-alarm": "expression in map.net"}}},
		},
	},
	"retry.hcl": {
		in:    "parcels",
		input: []string{`{"id":1,"region":"eu-west"}`, `none`, `{"id":2,"region":"ap-south"}`, `{"id":3,"region":"us-east"}`},
		out: map[string][]expected{
			"warehouse": {{body: `{"id":1,"region":"eu-west","label":"parcel 1"}`}, {body: `{"id":3,"region":"us-east","label":"parcel 3"}`}},
			"parcels.aside": {
				{body: `none`, headers: amqp.Table{"x-pipe-attempts": int64(1), "x-pipe-kind": "expression"}},
				{body: `{"id":2,"region":"ap-south"}`, headers: amqp.Table{"x-pipe-attempts": int64(3), "x-pipe-kind": "nacked", "x-pipe-stage": "sink.harbour"}},
			},
			"harbour": nil,
		},
	},
	"branches.hcl": {
		in:    "shop.in",
		input: []string{`{"id":1,"status":"paid","customer":"Zoë","note":"x"}`, `{"id":2,"status":"open","customer":"Ada"}`},
		out: map[string][]expected{
			"shop.paid":   {{body: `{"id":1,"status":"paid","customer":"Zoë","note":"x"}`}},
			"shop.open":   {{body: `{"id":2,"status":"open","customer":"Ada"}`}},
			"shop.audit":  {{body: `{"id":1,"status":"paid"}`}},
			"shop.parked": nil,
		},
	},
}

// TestPipelines runs every file of pipelines/.
func TestPipelines(t *testing.T) {
	files, err := filepath.Glob("../../pipelines/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			x, ok := examples[filepath.Base(file)]
			if !ok {
				t.Fatal("nobody has said what this file does")
			}
			hcl, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x.run(t, string(hcl))
		})
	}
}

func (x *example) run(t *testing.T, hcl string) {
	url := testbroker.VHost(t)
	p := start(t, url, hcl)
	testbroker.Eventually(t, time.Minute, func() bool {
		for q := range x.out {
			if !testbroker.Exists(t, url, q) {
				return false
			}
		}
		return testbroker.Exists(t, url, x.in)
	}, "the topology is declared")
	for _, body := range x.input {
		testbroker.Publish(t, url, x.in, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)})
	}
	for q, want := range x.out {
		testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, q) == len(want) }, q+" has what it should have")
	}
	waitEmpty(t, testbroker.Count(t), url, x.in)
	p.stop()
	for q, want := range x.out {
		got := testbroker.Drain(t, url, q)
		if len(got) != len(want) {
			t.Errorf("%s: %d messages, not %d", q, len(got), len(want))
			continue
		}
		slices.SortFunc(got, func(a, b amqp.Delivery) int { return slices.Compare(a.Body, b.Body) }) // dead letters may overtake each other
		slices.SortFunc(want, func(a, b expected) int { return slices.Compare([]byte(a.body), []byte(b.body)) })
		for i, w := range want {
			w.compare(t, q, &got[i])
		}
	}
}

func (w *expected) compare(t *testing.T, queue string, d *amqp.Delivery) {
	if string(d.Body) != w.body {
		t.Errorf("%s: got %s\nwant %s", queue, d.Body, w.body)
	}
	if w.key != "" && d.RoutingKey != w.key {
		t.Errorf("%s: routing key %s, not %s", queue, d.RoutingKey, w.key)
	}
	if d.DeliveryMode != amqp.Persistent {
		t.Errorf("%s: delivery mode %d", queue, d.DeliveryMode)
	}
	for k, v := range w.headers {
		if d.Headers[k] != v {
			t.Errorf("%s: header %s is %v, not %v", queue, k, d.Headers[k], v)
		}
	}
}

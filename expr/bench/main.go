// Bench measures the expressions of pipe beside expr-lang, cel-go and HCL's own evaluator, on the same
// JSON, from the bytes of the body to the result, in one run:
//
//	make bench-expr
//
// What it tells is the CPU time that the process used, the garbage collector's included, and not the time
// that passed. All take turns, many short ones, and the cheapest turn of each counts: so it can be told on a
// machine that others use, too.
//
// expr-lang and cel-go are given values that sonic has decoded, which was the fastest decoder for them;
// HCL those of cty's decoder. Objects and lists are written as JSON, as a stage would; the memory for results
// is used again, by all but HCL, whose encoder makes its own.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// task is an expression in every language.
type task struct {
	name            string
	pipe, lang, cel string
	kind            kind
}

type kind int

const (
	condition kind = iota
	text
	document
)

var tasks = []task{
	{
		name: "predicate", kind: condition,
		pipe: `body.status == "paid" && body.total > 50 && contains(["eu-west", "eu-north"], body.region)`,
		lang: `body.status == "paid" && body.total > 50 && body.region in ["eu-west", "eu-north"]`,
		cel:  `body.status == "paid" && body.total > 50.0 && body.region in ["eu-west", "eu-north"]`,
	},
	{
		name: "template", kind: text,
		pipe: `"${lower(body.region)}.${body.customer.tier}.${body.id}"`,
		lang: `lower(body.region) + "." + body.customer.tier + "." + body.id`,
		cel:  `body.region.lowerAscii() + "." + body.customer.tier + "." + body.id`,
	},
	{
		name: "object", kind: document,
		pipe: `{id = body.id, tier = body.customer.tier, region = upper(body.region), eur = body.total * 0.92, first = body.items[0].sku, paid = body.status == "paid"}`,
		lang: `{"id": body.id, "tier": body.customer.tier, "region": upper(body.region), "eur": body.total * 0.92, "first": body.items[0].sku, "paid": body.status == "paid"}`,
		cel:  `{"id": body.id, "tier": body.customer.tier, "region": body.region.upperAscii(), "eur": body.total * 0.92, "first": body.items[0].sku, "paid": body.status == "paid"}`,
	},
	{
		name: "for", kind: document,
		pipe: `[for i in body.items : {sku = i.sku, cost = i.qty * i.price} if i.qty > 1]`,
		lang: `map(filter(body.items, .qty > 1), {{"sku": .sku, "cost": .qty * .price}})`,
		cel:  `body.items.filter(i, i.qty > 1.0).map(i, {"sku": i.sku, "cost": i.qty * i.price})`,
	},
}

// program evaluates several tasks for one body, which it decodes once.
type program func(body []byte) ([]any, error)

// contestant is a language.
type contestant struct {
	name    string
	compile func(tasks []task) (program, error)
}

var contestants = []contestant{
	{"pipe", compilePipe}, {"expr-lang", compileLang}, {"cel-go", compileCEL}, {"hcl", compileHCL},
}

func main() {
	duration := flag.Duration("time", 2*time.Second, "how long to measure each")
	only := flag.String("only", "", "measure only this contestant")
	flag.Parse()
	fmt.Printf("%-20s", "CPU ns (B, allocs)")
	for _, c := range contestants {
		fmt.Printf(" %28s", c.name)
	}
	fmt.Println("    pipe is faster than the next")
	rows := append([]task(nil), tasks...)
	rows = append(rows, task{name: "all"})
	for _, size := range []int{400, 4_000, 64_000} {
		body := order(size)
		for _, row := range rows {
			list := []task{row}
			if row.name == "all" {
				list = tasks
			}
			measureRow(fmt.Sprintf("%s %d B", row.name, size), list, body, *only, *duration)
		}
	}
}

// measureRow prints what one thing costs everybody, once all agree on the result.
func measureRow(name string, list []task, body []byte, only string, duration time.Duration) {
	var programs []program
	for _, c := range contestants {
		if only == "" || c.name == only {
			programs = append(programs, prepare(c, list, body))
		}
	}
	agreed(programs, list, body)
	results := measure(programs, body, duration)
	fmt.Printf("%-20s", name)
	for _, m := range results {
		fmt.Printf(" %28s", fmt.Sprintf("%.0f (%.0f, %.1f)", m.ns, m.bytes, m.allocs))
	}
	if only == "" {
		fmt.Printf("    %.1f×", min(results[1].ns, results[2].ns, results[3].ns)/results[0].ns)
	}
	fmt.Println()
}

func prepare(c contestant, list []task, body []byte) program {
	p, err := c.compile(list)
	if err == nil {
		_, err = p(body)
	}
	if err != nil {
		log.Fatal(c.name, ": ", err)
	}
	return p
}

// agreed stops what is no comparison: when not all have the same results.
func agreed(programs []program, list []task, body []byte) {
	want, _ := programs[0](body)
	for _, p := range programs {
		got, _ := p(body)
		for i := range got {
			if !agree(got[i], want[i]) {
				log.Fatalf("%s is %.300s, not %.300s", list[i].name, got[i], want[i])
			}
		}
	}
}

// cost is what one call costs.
type cost struct{ ns, bytes, allocs float64 }

// rounds is how many turns each has.
const rounds = 40

// measure gives each the same CPU time, in turns, and returns the cheapest turn of each.
func measure(programs []program, body []byte, duration time.Duration) []cost {
	best := make([]cost, len(programs))
	for round := range rounds {
		for i, p := range programs {
			c := measureOnce(func() error { _, err := p(body); return err }, duration/rounds)
			if round == 0 || c.ns < best[i].ns {
				best[i] = c
			}
		}
	}
	return best
}

func measureOnce(f func() error, duration time.Duration) cost {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, calls := cpuTime(), 0
	for batch := 1; cpuTime()-start < duration; batch = min(2*batch, 10_000) {
		for range batch {
			if err := f(); err != nil {
				log.Fatal(err)
			}
		}
		calls += batch
	}
	used := cpuTime() - start
	runtime.ReadMemStats(&after)
	n := float64(calls)
	return cost{float64(used) / n, float64(after.TotalAlloc-before.TotalAlloc) / n, float64(after.Mallocs-before.Mallocs) / n}
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// agree compares results; documents as JSON, numbers as far as a float64 is exact.
func agree(a, b any) bool {
	a, b = value(a), value(b)
	x, isText := a.([]byte)
	y, too := b.([]byte)
	if !isText || !too {
		return a == b
	}
	var v, w any
	return json.Unmarshal(x, &v) == nil && json.Unmarshal(y, &w) == nil && reflect.DeepEqual(rounded(v), rounded(w))
}

// value is what a result is, or points to.
func value(v any) any {
	switch v := v.(type) {
	case *string:
		return *v
	case *[]byte:
		return *v
	}
	return v
}

func rounded(v any) any {
	switch v := v.(type) {
	case float64:
		return fmt.Sprintf("%.6f", v)
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = rounded(v[k])
		}
	}
	return v
}

// order is an order of about as many bytes.
func order(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"id": "A-1001", "status": "paid", "region": "eu-west", "total": 85.48, "customer": {"id": "c-17", "tier": "gold"}, ` +
		`"note": "leave at the door, please", "items": [`)
	for i := 0; ; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"sku": "tea-%d", "qty": %d, "price": %d.25, "name": "%s"}`, i, i%3+1, i%40+1, strings.Repeat("green tea ", 2))
		if b.Len() >= size-40 {
			break
		}
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

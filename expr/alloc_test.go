//go:build !race

package expr

import (
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// The race detector makes a pool forget things on purpose, and so allocations cannot be counted under
// it.

const orderBody = `{"id": "o-1", "status": "paid", "region": "EU-West", "total": 85.480,
	"customer": {"id": "c-7", "tier": "gold"}, "note": "gift", "items": [{"sku": "A", "qty": 2}]}`

func orderMessage() *engine.Message {
	m := engine.NewMessage([]byte(orderBody), map[string]any{"x-tier": "gold", "x-n": int32(5)})
	m.RoutingKey = "order.eu"
	m.Properties.ContentType = "application/json"
	return m
}

// allocations counts those of f.
func allocations(t *testing.T, what string, most float64, f func() error) {
	t.Helper()
	if err := f(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if n := testing.AllocsPerRun(200, func() { _ = f() }); n > most {
		t.Errorf("%s: %v allocations, want %v at most", what, n, most)
	}
}

// TestConditionAllocations: a condition allocates nothing, but for the places of what the expressions
// of a pipeline read, which the first one notes down.
func TestConditionAllocations(t *testing.T) {
	for _, source := range []string{
		`body.status == "paid"`,
		`body.status == "paid" && body.total > 10 && msg.headers["x-tier"] == "gold" && msg.content_type == "application/json"`,
		`has(body.customer.tier) && get(body.customer.vip, false) != true`,
		`!contains(["eu-west", "eu-north"], body.region)`,
		`msg.headers.x-n > 3 && startswith(msg.routing_key, "order.")`,
		`matches("^o-[0-9]+$", body.id) && body.items[0].qty > 1`,
		`body.total * 0.92 > 70 ? body.customer.id == "c-7" : false`,
		`coalesce(body.none, msg.headers.none, body.status) == body.status`,
	} {
		holds := MustParseBool(source)
		m := orderMessage()
		eval := func() error {
			ok, err := holds.Eval(m)
			if !ok {
				t.Errorf("%s does not hold", source)
			}
			return err
		}
		allocations(t, source, 0, eval)
		allocations(t, source+" on a new body", 1, func() error {
			m.SetDecoded(nil)
			return eval()
		})
	}
}

// TestStringAllocations: a template allocates its result, and what is only read not even that.
func TestStringAllocations(t *testing.T) {
	for source, most := range map[string]float64{
		`body.customer.id`:                            0,
		`msg.headers["x-tier"]`:                       0,
		`trimprefix(body.id, "o-")`:                   0,
		`"row"`:                                       0,
		`"eu.${lower(body.region)}"`:                  1,
		`"order.${body.customer.id}.${msg.priority}"`: 1,
		`"%{ if body.total > 50 }large%{ else }small%{ endif }.${body.total}"`: 1,
	} {
		s := MustParseString(source)
		m := orderMessage()
		allocations(t, source, most, func() error {
			_, err := s.Eval(m)
			return err
		})
		allocations(t, source+" on a new body", 1, func() error {
			m.SetDecoded(nil)
			_, err := s.Eval(m)
			return err
		})
	}
}

// TestJSONAllocations: an object and a loop that are written as JSON allocate nothing but the places of
// what they read.
func TestJSONAllocations(t *testing.T) {
	for _, source := range []string{
		`{id = body.id, total = body.total * 0.92, tier = "${body.customer.tier}!", items = body.items}`,
		`[for i in body.items : {sku = i.sku, n = i.qty + 1, tag = "${i.sku}-${i.qty}"} if i.qty > 1]`,
		`[body.id, [body.status, {a = lower(body.region)}]]`,
	} {
		v := mustValue(t, source)
		m := orderMessage()
		out := make([]byte, 0, 1000)
		allocations(t, source, 1, func() (err error) {
			m.SetDecoded(nil)
			out, err = v.AppendJSON(out[:0], m)
			return err
		})
	}
}

// TestEditAllocations: an edit allocates the new body, the list of its changes, what each of them
// holds, and the places in the body.
func TestEditAllocations(t *testing.T) {
	for _, test := range []struct {
		set, unset string
		most       float64
	}{
		{`{}`, `[body.nothing]`, 2},
		{`{}`, `[body.note]`, 4},
		{`{body.total_eur = round(body.total * 0.92, 2)}`, `[body.note]`, 4},
		{`{body.total_eur = round(body.total * 0.92, 2), msg.headers["x-tier"] = get(body.customer.tier, "none")}`, `[body.note]`, 6},
		{`{msg.routing_key = body.id}`, `[]`, 2},
	} {
		scope := NewScope(nil)
		set, diags := scope.Assignments(parsed(t, test.set))
		unset, more := scope.Paths(parsed(t, test.unset))
		if diags.HasErrors() || more.HasErrors() {
			t.Fatal(diags, more)
		}
		edit := NewEdit(set, unset)
		m := orderMessage()
		body := m.Body
		allocations(t, test.set+" "+test.unset, test.most, func() error {
			m.Body = body
			return edit.Apply(m)
		})
	}
}

// TestErrorAllocations: an error is noted down, and its text made when somebody reads it.
func TestErrorAllocations(t *testing.T) {
	holds := MustParseBool(`body.nothing == "paid"`)
	m := orderMessage()
	if _, err := holds.Eval(m); err == nil {
		t.Fatal("no error")
	}
	if n := testing.AllocsPerRun(200, func() { _, _ = holds.Eval(m) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

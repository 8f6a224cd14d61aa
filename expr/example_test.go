package expr_test

import (
	"fmt"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

func ExampleParseBool() {
	paid := expr.MustParseBool(`body.status == "paid" && has(body.customer.tier)`)
	m := engine.NewMessage([]byte(`{"status": "paid", "customer": {"tier": "gold"}}`), nil)
	fmt.Println(paid.Eval(m))
	// Output: true <nil>
}

func ExampleParseString() {
	key := expr.MustParseString(`"eu.${lower(body.region)}"`)
	m := engine.NewMessage([]byte(`{"region": "EU-West"}`), nil)
	fmt.Println(key.Eval(m))
	// Output: eu.eu-west <nil>
}

func ExampleAssignments_Apply() {
	shape := expr.MustParseAssignments(`{
		body.total_eur        = round(body.total * 0.92, 2)
		msg.headers["x-tier"] = get(body.customer.tier, "none")
	}`)
	m := engine.NewMessage([]byte(`{"total": 85.480, "note": "gift"}`), nil)
	if err := shape.Apply(m); err != nil {
		fmt.Println(err)
	}
	fmt.Println(string(m.Body))
	fmt.Println(m.Headers.Get("x-tier"))
	// Output:
	// {"total": 85.480, "note": "gift","total_eur":78.64}
	// none true
}

func ExamplePaths_Apply() {
	hide := expr.MustParsePaths(`[body.note, body.customer.email, msg.headers["x-internal"]]`)
	m := engine.NewMessage([]byte(`{"id": 7, "customer": {"name": "Ada", "email": "a@b.c"}, "note": "gift"}`), nil)
	if err := hide.Apply(m); err != nil {
		fmt.Println(err)
	}
	fmt.Println(string(m.Body))
	// Output: {"id": 7, "customer": {"name": "Ada"}}
}

func ExampleError() {
	total := expr.MustParseValue(`body.total + 1`)
	_, err := total.Eval(engine.NewMessage([]byte(`{"total": "many"}`), nil))
	fmt.Println(err)
	// Output: expression:1,1-11: body.total: not a number but a string
}

package expr

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

func zorder(size int) []byte {
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

func BenchmarkZZ(b *testing.B) {
	for name, src := range map[string]string{
		"predicate": `body.status == "paid" && body.total > 50 && contains(["eu-west", "eu-north"], body.region)`,
		"object":    `{id = body.id, tier = body.customer.tier, region = upper(body.region), eur = body.total * 0.92, first = body.items[0].sku, paid = body.status == "paid"}`,
		"for":       `[for i in body.items : {sku = i.sku, cost = i.qty * i.price} if i.qty > 1]`,
	} {
		for _, size := range []int{400, 4000} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				v := mustValue(b, src)
				m := engine.NewMessage(zorder(size), nil)
				var out []byte
				b.ReportAllocs()
				for b.Loop() {
					m.SetDecoded(nil)
					var err error
					out, err = v.AppendJSON(out[:0], m)
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

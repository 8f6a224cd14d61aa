package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// order is one of the made-up orders that flow through a demo.
type order struct {
	ID       string    `json:"id"`
	Status   string    `json:"status"`
	Region   string    `json:"region"`
	Total    any       `json:"total"`
	Customer customer  `json:"customer"`
	Note     string    `json:"note"`
	Items    []product `json:"items"`
}

type customer struct {
	ID   string `json:"id"`
	Tier string `json:"tier,omitempty"`
}

type product struct {
	SKU   string  `json:"sku"`
	Qty   int     `json:"qty"`
	Price float64 `json:"price"`
}

// orderMaker makes orders up, the same ones for the same seed.
type orderMaker struct {
	rand *rand.Rand
	made int
}

func newOrderMaker(seed uint64) *orderMaker {
	return &orderMaker{rand: rand.New(rand.NewPCG(seed, 0))}
}

// badEvery is how often an order comes that no pipeline can work on: failures are part of life.
const badEvery = 20

// next makes the next order's JSON.
func (o *orderMaker) next() ([]byte, error) {
	o.made++
	made := order{
		ID:       fmt.Sprintf("A-%04d", 1000+o.made),
		Status:   pick(o.rand, "paid", "paid", "paid", "open"),
		Region:   pick(o.rand, "eu-west", "eu-north", "us-east", "ap-south"),
		Customer: customer{ID: fmt.Sprintf("c-%02d", o.rand.IntN(40)), Tier: pick(o.rand, "gold", "silver", "")},
		Note:     pick(o.rand, "leave at the door", "a gift", "call first"),
	}
	cents := 0
	for i := range 1 + o.rand.IntN(3) {
		p := product{
			SKU:   pick(o.rand, "tea", "cup", "pot", "tin"),
			Qty:   o.rand.IntN(4),
			Price: float64(199+o.rand.IntN(4000)) / 100,
		}
		if i == 0 {
			p.Qty++ // nobody orders nothing
		}
		cents += p.Qty * int(p.Price*100+0.5)
		made.Items = append(made.Items, p)
	}
	made.Total = float64(cents) / 100
	if o.made%badEvery == 0 {
		made.Status, made.Total = "paid", "to be agreed"
	}
	return json.Marshal(made)
}

func pick(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }

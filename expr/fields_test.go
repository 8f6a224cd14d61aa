package expr

import (
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// TestLoopFields reads fields of elements in every way that they are written.
func TestLoopFields(t *testing.T) {
	m := engine.NewMessage([]byte(`{"l": [
		{"q": 2, "p": 1.25, "s": "a"}, { "s" : "b\n" , "q":1, "q" : 3 , "p": -0.50, "x": {"q": [7, "}"]} }, {"\u0071": 4, "p": 10, "s": "\u00e9\"", "q\\": 9},
		{"q": "5", "p": 1e2, "s": null}, {"q": 12345678901234567890, "p": 0.1, "s": []}, {"q": 9007199254740993, "p": 0.5, "s": {"a": 1}}]}`), nil)
	for source, want := range map[string]string{
		`[for i in body.l : i.q]`:                                  `[2,3,4,"5",12345678901234567890,9007199254740993]`,
		`[for i in body.l : i.s]`:                                  `["a","b\n","é\"",null,[],{"a": 1}]`,
		`[for i in body.l : i.q * i.p]`:                            `[2.5,-1.5,40,500,1234567890123456800,4503599627370496]`,
		`[for i in body.l : i.p * 3]`:                              `[3.75,-1.5,30,300,0.30000000000000004,1.5]`,
		`[for i in body.l : i.p > 1]`:                              `[true,false,true,true,false,false]`,
		`[for i in body.l : i.q >= 4]`:                             `[false,false,true,true,true,true]`,
		`[for i in body.l : i.q if i.q < 4]`:                       `[2,3]`,
		`[for i in body.l : get(i["q\\"], 0)]`:                     `[0,0,9,0,0,0]`,
		`[for n, i in body.l : [for j in body.l : j.q][n] == i.q]`: `[true,true,true,true,true,true]`,
		`[for i in [for i in body.l : i] : i.p]`:                   `[1.25,-0.50,10,1e2,0.1,0.5]`,
		`[for i in body.l : i.none]`:                               `error: expression:1,20-26: i.none: there is no such field`,
		`[for i in body.l : i.s * 2]`:                              `error: expression:1,20-23: i.s: not a number but a string`,
		`[for i in body.l : i.s > 2]`:                              `error: expression:1,20-23: i.s: not a number but a string`,
		`[for i in body.l[*].q : i.q]`:                             `error: expression:1,25-26: i: not an object but a number`,
	} {
		if got := outcome(source, m); got != want {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
	}
}

package expr

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
)

// sameJSON reports whether two texts are the same JSON, whatever the order of keys and the way that
// numbers are written.
func sameJSON(t fataler, a, b string) bool {
	t.Helper()
	return reflect.DeepEqual(comparable(decode(t, a)), comparable(decode(t, b)))
}

type number string

func comparable(v any) any {
	switch v := v.(type) {
	case json.Number:
		if r, ok := new(big.Rat).SetString(v.String()); ok {
			return number(r.RatString())
		}
	case []any:
		for i := range v {
			v[i] = comparable(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = comparable(v[k])
		}
	}
	return v
}

// decode returns JSON as encoding/json has it, numbers as they are written.
func decode(t fataler, body string) any {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(body, err)
	}
	return v
}

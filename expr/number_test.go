package expr

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// TestShortNumbers holds the quick ways of reading and writing numbers against strconv.
func TestShortNumbers(t *testing.T) {
	for range 200_000 {
		literal := strconv.FormatFloat(float64(rand.Int64N(1<<rand.IntN(62)))/powersOfTen[rand.IntN(8)], 'f', rand.IntN(8), 64)
		if rand.IntN(4) == 0 {
			literal = "-" + literal
		}
		want, err := strconv.ParseFloat(literal, 64)
		if err != nil {
			t.Fatal(err)
		}
		if v := numberValue(literal); v.kind == kindFloat && v.num != floatBits(want) || v.kind == kindInt && float64(v.int()) != want {
			t.Errorf("%s is read as %v, %v", literal, v.kind, v.asFloat())
		}
		checkFloat(t, want)
		checkFloat(t, want*rand.Float64())
		checkFloat(t, math.Nextafter(want, math.Inf(1)))
	}
	for _, f := range []float64{0.1, 0.3, 0.1 + 0.2, 1e15, 1e15 + 0.5, 999999999999999, 99999999999.9999, 1e20, 1e-6, 0.0001, 0.00001, 85.48 * 0.92} {
		checkFloat(t, f)
		checkFloat(t, -f)
	}
	for literal, want := range map[string]float64{
		"-0.0": math.Copysign(0, -1), "0.1": 0.1, "9007199254740993.5": 9007199254740993.5, "9007199254740.993": 9007199254740.993,
		"0.00000000000000001": 1e-17, "-1.5": -1.5, "12345678901234567.8": 12345678901234567.8, "1.5e3": 1500, "1E2": 100,
	} {
		if v := numberValue(literal); v.kind != kindFloat || v.num != floatBits(want) || v.str != literal {
			t.Errorf("%s is read as %v, %v", literal, v.kind, v.float())
		}
	}
	if v := numberValue("-0"); v.kind != kindInt || v.num != 0 {
		t.Errorf("-0 is %v, %v", v.kind, v.num)
	}
}

func checkFloat(t *testing.T, f float64) {
	t.Helper()
	if math.Abs(f) < 1e-6 || math.Abs(f) >= 1e21 {
		return // written with an exponent
	}
	if got, want := string(appendFloat(nil, f, 64)), strconv.FormatFloat(f, 'f', -1, 64); got != want {
		t.Errorf("%s is written as %s", want, got)
	}
}

// TestRoundShort holds the quick way of rounding against the decimal.
func TestRoundShort(t *testing.T) {
	quick := 0
	for range 500_000 {
		f := float64(rand.Int64N(1<<rand.IntN(62))) / powersOfTen[rand.IntN(12)]
		switch rand.IntN(4) {
		case 0:
			f *= rand.Float64()
		case 1:
			f = math.Nextafter(f, math.Inf(rand.IntN(2)*2-1))
		case 2:
			f = -f
		}
		digits := rand.IntN(12)
		rounded, ok := roundShort(f, digits)
		if !ok {
			continue
		}
		quick++
		if want := roundLong(f, digits); floatBits(rounded) != floatBits(want) {
			t.Errorf("%v to %d digits is %v, not %v", f, digits, rounded, want)
		}
	}
	if quick < 100_000 {
		t.Errorf("only %d were rounded quickly", quick)
	}
	for _, f := range []float64{0.5, -2.5, 1.005, 0.125, math.Inf(1), math.NaN(), 1e300, 1 << 41} {
		if rounded, ok := roundShort(f, 2); ok && floatBits(rounded) != floatBits(roundLong(f, 2)) {
			t.Errorf("%v is rounded to %v", f, rounded)
		}
	}
}

// TestRoundIsWhole: what is rounded to no digits is a whole number to whoever asks for its type, as a header does.
func TestRoundIsWhole(t *testing.T) {
	m := engine.NewMessage([]byte(`{"f": 2.5}`), nil)
	for source, want := range map[string]any{
		`round(body.f * 1.5)`: int64(4), `round(body.f * 1.5, 0)`: int64(4), `round(body.f, 0)`: int64(3), `round(body.f * 1.5, 2)`: 3.75, `round(body.f * 2, 1)`: 5.0,
	} {
		if got, err := MustParseValue(source).Eval(m); err != nil || got != want {
			t.Errorf("%s is %T %v (%v), not %T %v", source, got, got, err, want, want)
		}
	}
}

package expr

import (
	"math"
	"math/bits"
	"time"
)

// equal compares as HCL does: values of different types are not equal, lists and objects are compared
// through and through. Numbers are equal if they are the same number.
func equal(a, b value) bool {
	if a.isNumber() && b.isNumber() {
		return sameNumber(a, b)
	}
	if a.kind != b.kind {
		return false
	}
	switch a.kind {
	case kindBool:
		return a.num == b.num
	case kindString, kindBytes:
		return a.str == b.str
	case kindTime:
		return a.num == b.num && a.nsec == b.nsec
	case kindList, kindObject:
		return a.str != "" && a.str == b.str || equalComposites(a.deep(), b.deep())
	}
	return true
}

func equalComposites(a, b value) bool {
	if len(a.ref.items) != len(b.ref.items) {
		return false
	}
	for i, item := range a.ref.items {
		j := i
		if a.kind == kindObject {
			found, ok := b.ref.find(a.ref.keys[i])
			if !ok {
				return false
			}
			j = found
		}
		if !equal(item, b.ref.items[j]) {
			return false
		}
	}
	return true
}

// compare orders two numbers, two strings byte by byte, or two timestamps. A string beside a number
// counts as one if it reads as one.
func compare(a, b value, at, bt *place) (int, *Error) {
	switch {
	case a.isNumber() && b.isNumber():
		return orderNumbers(a, b, at, bt)
	case a.kind == kindString && b.kind == kindString:
		return cmpOrdered(a.str, b.str), nil
	case a.kind == kindTime && b.kind == kindTime:
		return a.time().Compare(b.time()), nil
	case a.kind == kindTime && b.kind == kindString:
		return compareTime(a, b, bt)
	case a.kind == kindString && b.kind == kindTime:
		order, err := compareTime(b, a, at)
		return -order, err
	}
	x, err := toNumber(a, at)
	y, failed := toNumber(b, bt)
	if failed != nil && (err == nil || a.kind == kindString) {
		err = failed // a string may be meant; what is beside it cannot be
	}
	if err != nil {
		return 0, err
	}
	return compareNumbers(x, y), nil
}

func compareTime(t, s value, at *place) (int, *Error) {
	parsed, err := time.Parse(time.RFC3339Nano, s.str)
	if err != nil {
		return 0, at.fail("not a timestamp (RFC 3339) but %t", s)
	}
	return t.time().Compare(parsed), nil
}

const overflow = "the result does not fit a 64-bit integer"

func add(a, b value, at *place) (value, *Error) {
	if a.kind == kindFloat || b.kind == kindFloat {
		return finite(a.asFloat()+b.asFloat(), at)
	}
	x, y := a.int(), b.int()
	sum := x + y
	if (sum > x) != (y > 0) && y != 0 {
		return value{}, at.fail(overflow, a)
	}
	return intValue(sum), nil
}

func subtract(a, b value, at *place) (value, *Error) {
	if a.kind == kindFloat || b.kind == kindFloat {
		return finite(a.asFloat()-b.asFloat(), at)
	}
	x, y := a.int(), b.int()
	difference := x - y
	if (difference < x) != (y > 0) && y != 0 {
		return value{}, at.fail(overflow, a)
	}
	return intValue(difference), nil
}

func multiply(a, b value, at *place) (value, *Error) {
	if a.kind == kindFloat || b.kind == kindFloat {
		return finite(a.asFloat()*b.asFloat(), at)
	}
	x, y := a.int(), b.int()
	high, low := bits.Mul64(magnitude(x), magnitude(y))
	negative := (x < 0) != (y < 0)
	switch {
	case high != 0 || low > 1<<63 || low == 1<<63 && !negative:
		return value{}, at.fail(overflow, a)
	case negative:
		return intValue(-int64(low)), nil
	}
	return intValue(int64(low)), nil
}

// magnitude is the absolute value, which an int64 cannot always hold.
func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// divide is whole where it leaves nothing over, else a fraction.
func divide(a, b value, at *place) (value, *Error) {
	if b.asFloat() == 0 {
		return value{}, at.fail("division by zero", b)
	}
	if a.kind == kindInt && b.kind == kindInt && b.int() != -1 && a.int()%b.int() == 0 {
		return intValue(a.int() / b.int()), nil
	}
	if b.kind == kindInt && b.int() == -1 {
		return negate(a, at)
	}
	return finite(a.asFloat()/b.asFloat(), at)
}

// modulo has the sign of its left operand, as HCL's.
func modulo(a, b value, at *place) (value, *Error) {
	if b.asFloat() == 0 {
		return value{}, at.fail("division by zero", b)
	}
	if a.kind == kindFloat || b.kind == kindFloat {
		return finite(math.Mod(a.asFloat(), b.asFloat()), at)
	}
	if b.int() == -1 {
		return intValue(0), nil
	}
	return intValue(a.int() % b.int()), nil
}

func negate(v value, at *place) (value, *Error) {
	if v.kind == kindFloat {
		return floatValue(-v.float()), nil
	}
	return subtract(intValue(0), v, at)
}

func finite(f float64, at *place) (value, *Error) {
	if !isFinite(f) {
		return value{}, at.fail("the result is out of range", missing)
	}
	return floatValue(f), nil
}

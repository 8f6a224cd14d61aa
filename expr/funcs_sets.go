package expr

import "slices"

// valueSet is the values that have been seen.
type valueSet struct {
	scalars    map[value]bool
	composites []value
}

// has reports whether a value is in the set.
func (s *valueSet) has(e *env, v value, at *place) (bool, *Error) {
	if v.kind < kindList {
		return s.scalars[v.scalar()], e.look(elementWork, at)
	}
	v = v.full()
	if err := e.look(elementWork*(v.weight(maxReading)+1)*(len(s.composites)+1), at); err != nil {
		return false, err
	}
	return slices.ContainsFunc(s.composites, func(c value) bool { return equal(c, v) }), nil
}

// add puts a value into the set, and reports whether it is new.
func (s *valueSet) add(e *env, v value, at *place) (bool, *Error) {
	if there, err := s.has(e, v, at); there || err != nil {
		return false, err
	}
	if v.kind >= kindList {
		s.composites = append(s.composites, v.full())
		return true, nil
	}
	if s.scalars == nil {
		s.scalars = map[value]bool{}
	}
	s.scalars[v.scalar()] = true
	return true, nil
}

// scalar is the same for all values that are equal, of those that are neither lists nor objects.
func (v value) scalar() value {
	key := value{kind: v.kind, num: v.num, nsec: v.nsec, str: v.str}
	if v.isNumber() && isFinite(v.asFloat()) {
		key.str = ""
		if i, ok := wholeFloat(v.asFloat()); ok && v.kind == kindFloat {
			key = intValue(i)
		}
	}
	return key
}

// addAll puts the elements of a list into the set.
func (s *valueSet) addAll(e *env, list value, at *place) *Error {
	c, err := e.open(list, at)
	if err != nil {
		return err
	}
	for _, item := range c.items {
		if _, err := s.add(e, item, at); err != nil {
			return err
		}
	}
	return nil
}

// pick returns the elements of a list for which keep holds, each once.
func pick(e *env, list value, seen *valueSet, at *place, keep func(value) (bool, *Error)) ([]value, *Error) {
	c, err := e.open(list, at)
	if err != nil {
		return nil, err
	}
	var out []value
	for _, item := range c.items {
		fresh, err := seen.add(e, item, at)
		if err != nil {
			return nil, err
		}
		if fresh && keep != nil {
			if fresh, err = keep(item); err != nil {
				return nil, err
			}
		}
		if fresh {
			out = append(out, item)
		}
	}
	return out, e.spend(elementCost*len(out), at)
}

func union(e *env, args []value, at *site) (value, *Error) {
	var seen valueSet
	var out []value
	for i, list := range args {
		fresh, err := pick(e, list, &seen, at.arg(i), nil)
		if err != nil {
			return value{}, err
		}
		out = append(out, fresh...)
	}
	return listValue(out), nil
}

func intersection(e *env, args []value, at *site) (value, *Error) {
	others := make([]valueSet, len(args)-1)
	for i := range others {
		if err := others[i].addAll(e, args[i+1], at.arg(i+1)); err != nil {
			return value{}, err
		}
	}
	out, err := pick(e, args[0], &valueSet{}, at.arg(0), func(v value) (bool, *Error) {
		for i := range others {
			if there, err := others[i].has(e, v, &at.place); !there || err != nil {
				return false, err
			}
		}
		return true, nil
	})
	return listValue(out), err
}

func subtraction(e *env, args []value, at *site) (value, *Error) {
	var without valueSet
	if err := without.addAll(e, args[1], at.arg(1)); err != nil {
		return value{}, err
	}
	out, err := pick(e, args[0], &without, at.arg(0), nil)
	return listValue(out), err
}

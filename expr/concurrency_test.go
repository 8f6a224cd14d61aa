package expr

import (
	"fmt"
	"testing"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/engine"
)

// shared is everything that a pipeline compiles, in one scope, and is then evaluated by all its lanes.
type shared struct {
	keep   Bool
	key    String
	value  Value
	fields Map
	edit   *Edit
	count  *Edit // which leaves what is decoded behind
}

func compileShared(t *testing.T) shared {
	t.Helper()
	scope := NewScope(nil)
	one, d0 := scope.Assignments(parsed(t, `{body.zero = body.zero + 1}`))
	count := NewEdit(one, Paths{})
	keep, d1 := scope.Bool(parsed(t, `body.n % 2 == 0 && contains(["a", "b"], body.kind) && length([for v in body.list : v if v > body.n]) == 2`))
	key, d2 := scope.String(parsed(t, `"${lower(body.kind)}.${body.n}.%{ for v in body.list }${v}%{ endfor }"`))
	value, d3 := scope.Value(parsed(t, `{list = body.list[*], n = body.list[body.zero], text = "${body.n}"}`))
	fields, d4 := scope.Map(parsed(t, `{n = body.n, kind = upper(body.kind), header = msg.headers.h}`))
	set, d5 := scope.Assignments(parsed(t, `{body.sum = body.n + body.list[0], msg.headers["h"] = body.kind}`))
	unset, d6 := scope.Paths(parsed(t, `[body.kind]`))
	for i, d := range []interface{ HasErrors() bool }{d0, d1, d2, d3, d4, d5, d6} {
		if d.HasErrors() {
			t.Fatal(i, d)
		}
	}
	return shared{keep, key, value, fields, NewEdit(set, unset), count}
}

// check evaluates everything for one message, and says what is not as it must be.
func (s shared) check(m *engine.Message, n int) error {
	keep, err := s.keep.Eval(m)
	if err != nil || keep != (n%2 == 0) {
		return fmt.Errorf("keep of %d is %v: %w", n, keep, err)
	}
	key, err := s.key.Eval(m)
	if want := fmt.Sprintf("b.%d.%d%d", n, n+1, n+2); err != nil || key != want {
		return fmt.Errorf("key is %q, not %q: %w", key, want, err)
	}
	value, err := s.value.AppendJSON(nil, m)
	if want := fmt.Sprintf(`{"list":[%d,%d],"n":%d,"text":%d}`, n+1, n+2, n+1, n); err != nil || string(value) != want {
		return fmt.Errorf("value is %s, not %s: %w", value, want, err)
	}
	fields := ""
	err = s.fields.Each(m, func(key string, v any) error {
		fields += fmt.Sprint(key, v)
		return nil
	})
	if want := fmt.Sprintf("n%dkindBheadera", n); err != nil || fields != want {
		return fmt.Errorf("fields are %s, not %s: %w", fields, want, err)
	}
	return nil
}

// change edits a message, and says what is not as it must be.
func (s shared) change(m *engine.Message, n int) error {
	for range 3 {
		if err := s.count.Apply(m); err != nil {
			return err
		}
	}
	if err := s.edit.Apply(m); err != nil {
		return err
	}
	want := fmt.Sprintf(`{"n": %d, "list": [%d, %d], "zero": 3,"sum":%d}`, n, n+1, n+2, n+n+1)
	if h, _ := m.Headers.Get("h"); string(m.Body) != want || h != "b" {
		return fmt.Errorf("the body is %s and the header %v, not %s and b", m.Body, h, want)
	}
	return nil
}

// TestManyGoroutines evaluates the same expressions in 64 goroutines, each with messages of its own,
// which share bodies, headers and what was decoded of them with those of all others.
func TestManyGoroutines(t *testing.T) {
	s := compileShared(t)
	originals := make([]*engine.Message, 8)
	for n := range originals {
		originals[n] = engine.NewMessage(
			fmt.Appendf(nil, `{"n": %d, "kind": "b", "list": [%d, %d], "zero": 0}`, n, n+1, n+2), map[string]any{"h": "a"})
		if n%2 == 0 { // the others are decoded by their clones
			if err := s.check(originals[n], n); err != nil {
				t.Fatal(err)
			}
		}
	}
	clones := make([][]*engine.Message, 64)
	for i := range clones {
		for _, m := range originals {
			clones[i] = append(clones[i], m.Clone())
		}
	}
	var wg conc.WaitGroup
	for _, own := range clones {
		wg.Go(func() {
			for range 5 {
				for n, m := range own {
					if err := s.check(m, n); err != nil {
						t.Error(err)
					}
				}
			}
			for n, m := range own {
				if err := s.change(m, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n, m := range originals {
		if err := s.check(m, n); err != nil {
			t.Error("of the original: ", err)
		}
	}
}

// TestNestedEvaluation evaluates expressions while another is evaluated: each has its own memory.
func TestNestedEvaluation(t *testing.T) {
	s := compileShared(t)
	outer := MustParseMap(`{a = [for v in body.list : v], b = "${body.kind}!"}`)
	m := engine.NewMessage([]byte(`{"n": 4, "kind": "b", "list": [5, 6], "zero": 0}`), map[string]any{"h": "a"})
	got := ""
	err := outer.Each(m, func(key string, v any) error {
		got += fmt.Sprint(key, v)
		return s.check(m, 4)
	})
	if want := "a[5 6]bb!"; err != nil || got != want {
		t.Errorf("got %s and error %v, want %s", got, err, want)
	}
}

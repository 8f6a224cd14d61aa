package devbroker

import (
	"math/rand/v2"
	"testing"
)

// TestTopics compares with what the specification says, word for word.
func TestTopics(t *testing.T) {
	random := func(of []string, n int) (all []string) {
		for range rand.IntN(n) {
			all = append(all, of[rand.IntN(len(of))])
		}
		return all
	}
	for range 100_000 {
		pattern, key := random([]string{"#", "*", "a", "b"}, 7), random([]string{"a", "b", ""}, 7)
		if got, want := wordsMatch(pattern, key), specified(pattern, key); got != want {
			t.Fatalf("%q and %q: %v", pattern, key, got)
		}
	}
}

func specified(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return specified(pattern[1:], key) || len(key) > 0 && specified(pattern, key[1:])
	}
	return len(key) > 0 && (pattern[0] == "*" || pattern[0] == key[0]) && specified(pattern[1:], key[1:])
}

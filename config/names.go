package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// nearest returns the one of names that was probably meant, or "".
func nearest(given string, names []string) string {
	best, bestDistance := "", 1+max(1, len(given)/3)
	for _, name := range names {
		distance := levenshtein.Distance(strings.ToLower(given), strings.ToLower(name), nil)
		if distance < bestDistance {
			best, bestDistance = name, distance
		}
	}
	if best != "" || len(given) < 3 {
		return best
	}
	for _, name := range names {
		if strings.Contains(name, given) || len(name) > 3 && strings.Contains(given, name) {
			return name
		}
	}
	return ""
}

// manyNames is how many names a diagnostic lists at most.
const manyNames = 30

// suggest is the end of a sentence about a name that does not exist: what was probably meant, or else all
// that there is. show makes of a name what would be written.
func suggest(given string, names []string, show func(string) string) string {
	if near := nearest(given, names); near != "" {
		return fmt.Sprintf(" Did you mean %s?", show(near))
	}
	if len(names) == 0 || len(names) > manyNames {
		return ""
	}
	return fmt.Sprintf(" There is %s.", list(names, show, "and"))
}

// list joins names as people do: a, b and c.
func list(names []string, show func(string) string, last string) string {
	shown := make([]string, len(names))
	for i, name := range slices.Sorted(slices.Values(names)) {
		shown[i] = show(name)
	}
	if len(shown) < 2 {
		return strings.Join(shown, "")
	}
	end := len(shown) - 1
	return strings.Join(shown[:end], ", ") + " " + last + " " + shown[end]
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func bare(s string) string { return s }

// reference shows how a name below a root is written, as queue["orders.in"].
func reference(root string) func(string) string {
	return func(name string) string {
		if isIdentifier(name) {
			return root + "." + name
		}
		return fmt.Sprintf("%s[%q]", root, name)
	}
}

// sentence makes a sentence of an error's text.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if word, _, _ := strings.Cut(s, " "); strings.ContainsAny(word, `:/_"'.`) {
		return ended(s) // a name, or an address
	}
	return ended(strings.ToUpper(s[:1]) + s[1:])
}

// ended gives a text a full stop, if it has no other end.
func ended(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".?!") {
		return s
	}
	return s + "."
}

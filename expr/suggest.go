package expr

import (
	"github.com/agext/levenshtein"
)

// suggest returns ` Did you mean "…"?` with the nearest of the names, or nothing.
func suggest(given string, names []string) string {
	best, distance := "", len(given)/3+1
	for _, name := range names {
		if d := levenshtein.Distance(given, name, nil); d <= distance && (best == "" || d < distance) {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return ` Did you mean "` + best + `"?`
}

//go:build torture

package defence

import (
	"os"
	"slices"
	"strings"
)

var off = strings.Split(os.Getenv("GF_PLUGIN_TORTURE_OFF"), ",")

// Off reports whether a defence is switched off: GF_PLUGIN_TORTURE_OFF has its name,
// with commas between several.
func Off(n Name) bool { return slices.Contains(off, string(n)) }

//go:build torture

package defence

import (
	"os"
	"slices"
	"strings"
	"sync"
)

var off = strings.Split(os.Getenv("GF_PLUGIN_TORTURE_OFF"), ",")

// Off reports whether a defence is switched off. GF_PLUGIN_TORTURE_OFF has the names
// of these, separated by commas.
func Off(n Name) bool { return slices.Contains(off, string(n)) }

var (
	mu     sync.Mutex
	leaked = make(map[int][4]int)
)

// Leak is called for each batch of samples. With Memory off, it keeps an entry of a map
// for each of them, and with Goroutines off a goroutine for the batch.
func Leak(samples int) {
	if Off(Memory) {
		mu.Lock()
		defer mu.Unlock()
		for range samples {
			leaked[len(leaked)] = [4]int{}
		}
	}
	if Off(Goroutines) {
		go func() { select {} }()
	}
}

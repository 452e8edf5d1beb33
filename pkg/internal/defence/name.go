// Package defence lets torture show that each of the recorder's defences is
// needed: a binary that is built with the tag torture can be run without one. In
// all other binaries the defences are always on.
package defence

// Name names a defence.
type Name string

// The defences.
const (
	// LowDisk is the first floor of free space, below which nothing is acknowledged.
	LowDisk Name = "floor1"
	// CriticalDisk is the second, below which the TSDB is closed.
	CriticalDisk Name = "floor2"
	// Reopen is that nothing is acknowledged after a failed write until the TSDB
	// was opened anew.
	Reopen Name = "reopen"
	// AckAfterCommit is that messages are acknowledged after they are committed.
	AckAfterCommit Name = "ack"
	// Memory is that what samples took is given back, and Goroutines that no goroutine
	// stays: see Leak.
	Memory     Name = "memory"
	Goroutines Name = "goroutines"
)

// Package defence lets torture show that each of the recorder's defences is needed:
// a binary built with the tag torture can run without one. In all other binaries the
// defences are always on.
package defence

// Name names a defence.
type Name string

// The defences.
const (
	// LowDisk: nothing is acknowledged below the first floor of free space.
	LowDisk Name = "floor1"
	// CriticalDisk: the TSDB is closed below the second floor of free space.
	CriticalDisk Name = "floor2"
	// Reopen: after a failed write nothing is acknowledged until the TSDB was reopened.
	Reopen Name = "reopen"
	// AckAfterCommit: messages are acknowledged only after they are committed.
	AckAfterCommit Name = "ack"
	// Memory is that what samples took is given back, and Goroutines that no goroutine
	// stays: see Leak.
	Memory     Name = "memory"
	Goroutines Name = "goroutines"
)

package recorder

import "time"

// isIdle reports whether nobody has asked for samples for so long that nothing
// is recorded any more. It needs s.mu.
func (s *Store) isIdle() bool {
	stops := s.stops()
	return stops != 0 && s.now().UnixMilli() >= stops
}

// stops returns when recording stops unless somebody asks for samples before, 0
// for never. It needs s.mu.
func (s *Store) stops() int64 {
	if s.config.Idle == 0 {
		return 0
	}
	return s.used + s.config.Idle.Milliseconds()
}

// use notes that somebody asks for samples. It needs s.mu.
func (s *Store) use() {
	idle := s.isIdle()
	s.used = s.now().UnixMilli()
	if idle {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// watchUse stops the inputs when nobody has asked for long, because Grafana
// tells a plugin nothing of a data source that was deleted, and starts them
// again when somebody does.
func (s *Store) watchUse() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		case <-s.wake:
		}
		s.configuring.Lock()
		s.mu.Lock()
		idle, c, used := s.isIdle(), s.config, s.used
		s.mu.Unlock()
		switch {
		case s.idle == idle:
		case idle:
			s.logger.Warn("Nothing is recorded any more, because nobody asks for it", "unused for", c.Idle)
			s.run(nil)
		default:
			s.run(s.inputs)
		}
		s.idle = idle
		if used-s.memory.Used >= time.Hour.Milliseconds() {
			if err := s.memory.keep(c, used); err != nil {
				s.logger.Warn("It cannot be noted that the store is in use", "error", err)
			}
		}
		s.configuring.Unlock()
	}
}

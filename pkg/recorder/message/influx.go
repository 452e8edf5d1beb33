package message

// looksLikeLines tells line protocol from other text, cheaply: there is a field
// set.
func looksLikeLines([]byte) bool { return false }

func (c *content) lines(text []byte) { c.skip(notLines, nil, text) }

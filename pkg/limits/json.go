package limits

import "io"

// JSON returns a reader of r that fails with an *[Error] where its JSON is nested
// too deeply, or has a text or number that is too long: decoders hold both in
// memory, however little of it is wanted.
func JSON(r io.Reader) io.Reader { return &jsonReader{r: r} }

type jsonReader struct {
	r   io.Reader
	at  place
	err error
}

// place is where in its JSON a reader is.
type place struct {
	depth, token int64
	text, escape bool
}

func (j *jsonReader) Read(p []byte) (int, error) {
	if j.err != nil {
		return 0, j.err
	}
	n, err := j.r.Read(p)
	at := j.at // a copy, because every byte changes it
	for _, c := range p[:n] {
		if at = at.after(c); at.token > Token.Most || at.depth > Nesting.Most {
			if j.err = Token.Check(at.token); j.err == nil {
				j.err = Nesting.Check(at.depth)
			}
			return 0, j.err
		}
	}
	j.at = at
	return n, err
}

// after returns the place behind the next byte.
func (p place) after(c byte) place {
	switch {
	case p.text && p.escape:
		p.escape = false
	case p.text && c == '\\':
		p.escape = true
	case c == '"':
		p.text = !p.text
		p.token = 0
		return p
	case p.text:
	case c == '[' || c == '{':
		p.depth++
		p.token = 0
		return p
	case c == ']' || c == '}':
		p.depth--
		p.token = 0
		return p
	case c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n':
		p.token = 0
		return p
	}
	p.token++
	return p
}

package limits

import "io"

// JSON returns a reader of r that fails with an *[Error] where its JSON is nested
// too deeply, or has a text or number that is too long: decoders hold both in
// memory, however little of it is wanted.
func JSON(r io.Reader) io.Reader { return &jsonReader{r: r} }

type jsonReader struct {
	r            io.Reader
	depth, token int64
	text, escape bool
	err          error
}

func (j *jsonReader) Read(p []byte) (int, error) {
	if j.err != nil {
		return 0, j.err
	}
	n, err := j.r.Read(p)
	for _, c := range p[:n] {
		if j.see(c); j.token > Token.Most || j.depth > Nesting.Most {
			if j.err = Token.Check(j.token); j.err == nil {
				j.err = Nesting.Check(j.depth)
			}
			return 0, j.err
		}
	}
	return n, err
}

func (j *jsonReader) see(c byte) {
	switch {
	case j.text && j.escape:
		j.escape = false
	case j.text && c == '\\':
		j.escape = true
	case c == '"':
		j.text = !j.text
		j.token = 0
		return
	case j.text:
	case c == '[' || c == '{':
		j.depth++
		j.token = 0
		return
	case c == ']' || c == '}':
		j.depth--
		j.token = 0
		return
	case c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n':
		j.token = 0
		return
	}
	j.token++
}

package moat

// ExtraText returns the member of that name of e.Extra: a text as it is written between its quotes, with escapes
// left as they are; a number, true or false as it is written; "" for null, an object, a list, one that
// is not there, and where Extra is no JSON object. Of two members of one name the first counts. It is a
// view of e.Extra and does not allocate.
func (e *Event) ExtraText(name string) string {
	s := e.Extra
	i := skipSpace(s, 0)
	if byteAt(s, i) != '{' {
		return ""
	}
	i = skipSpace(s, i+1)
	for {
		key := i + 1
		value, _ := skipKey(s, i)
		if value < 0 {
			return ""
		}
		end, _ := skipValue(s, value, 1)
		if end < 0 {
			return ""
		}
		if last, _ := skipText(s, key); s[key:last] == name {
			switch s[value] {
			case '"':
				return s[value+1 : end-1]
			case '{', '[', 'n':
				return ""
			}
			return s[value:end]
		}
		if i = skipSpace(s, end); byteAt(s, i) != ',' {
			return ""
		}
		i = skipSpace(s, i+1)
	}
}

package ingest

import "strings"

// hasValues tells whether a URL may hold something that [appendLocation] strips.
func hasValues(s string) bool {
	return strings.IndexByte(s, '?') >= 0 || strings.IndexByte(s, ';') >= 0 || strings.IndexByte(s, '#') >= 0 || strings.IndexByte(s, '@') >= 0
}

// appendLocation appends the URL s without the values of its query and of the
// parameters of its path, without its fragment and without a user and password.
// Keys are kept: "/a;jsessionid=1/b?x=1&y=2#z" becomes "/a;jsessionid=/b?x=&y=".
func appendLocation(dst []byte, s string) []byte {
	if i := strings.IndexByte(s, '#'); i >= 0 {
		s = s[:i]
	}
	path, query, has := strings.Cut(s, "?")
	if i := strings.Index(path, "://"); i >= 0 {
		i += len("://")
		dst = append(dst, path[:i]...)
		path = path[i:]
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if at := strings.LastIndexByte(path[:end], '@'); at >= 0 {
			path = path[at+1:]
		}
	}
	for {
		i := strings.IndexByte(path, ';')
		if i < 0 {
			dst = append(dst, path...)
			break
		}
		dst = append(dst, path[:i+1]...)
		path = path[i+1:]
		end := strings.IndexAny(path, ";/")
		if end < 0 {
			end = len(path)
		}
		dst = appendKey(dst, path[:end])
		path = path[end:]
	}
	if !has {
		return dst
	}
	dst = append(dst, '?')
	for query != "" {
		part := query
		if end := strings.IndexAny(query, "&;?"); end >= 0 {
			part, query = query[:end], query[end+1:]
		} else {
			query = ""
		}
		if part == "" {
			continue
		}
		if dst[len(dst)-1] != '?' {
			dst = append(dst, '&')
		}
		dst = appendKey(dst, part)
	}
	return dst
}

// appendKey appends the key of key=value. A part without "=" is kept if it looks like a
// key, since it may be a value as well.
func appendKey(dst []byte, part string) []byte {
	const maxKey = 64
	key, _, pair := strings.Cut(part, "=")
	if len(key) > maxKey || !pair && !isKey(key) {
		key = "_"
	}
	dst = append(dst, key...)
	if pair {
		dst = append(dst, '=')
	}
	return dst
}

// isKey tells whether s is a short word, with at most four digits.
func isKey(s string) bool {
	const maxWord, maxDigits = 32, 4
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			if digits++; digits > maxDigits {
				return false
			}
		case !isLetter(c) && c != '_' && c != '-' && c != '.':
			return false
		}
	}
	return len(s) <= maxWord
}

func isDigit(c byte) bool  { return c-'0' < 10 }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
const (
	HeaderKey       = "Moat-Key"
	HeaderTime      = "Moat-Time"
	HeaderSignature = "Moat-Signature"
)

// Causes of a refusal. They go to the operator's log, never to the caller.
var (
	errNone       = errors.New("no credentials")
	errMany       = errors.New("a credential is given twice, or in two ways")
	errForm       = errors.New("credentials cannot be read")
	errSecret     = errors.New("wrong secret")
	errSignature  = errors.New("wrong signature")
	errTime       = errors.New("signed time is too far from the clock")
	errUnknownKey = errors.New("no such key, or it is revoked")
)

// credentials are what a request says of its sender, unchecked.
type credentials struct {
	id        string
	secret    string // of a bearer key
	at        string // when it was signed, as sent: in seconds since 1970, a fraction allowed
	time      int64  // at, in whole seconds
	signature signature
}

type signature [sha256.Size]byte

func (c *credentials) signed() bool { return c.secret == "" }

// readCredentials finds the one set of credentials of r. A header given twice is
// refused: two readers of the request could believe different ones.
func readCredentials(r *http.Request) (c credentials, err error) {
	bearer, id, at, sig := r.Header["Authorization"], r.Header[HeaderKey], r.Header[HeaderTime], r.Header[HeaderSignature]
	signed := len(id)+len(at)+len(sig) > 0
	switch {
	case len(bearer) == 0 && !signed:
		return c, errNone
	case len(bearer) > 0 && signed || len(bearer) > 1 || len(id) > 1 || len(at) > 1 || len(sig) > 1:
		return c, errMany
	case len(bearer) == 1:
		return readBearer(bearer[0])
	case len(id) == 0 || len(at) == 0 || len(sig) == 0:
		return c, errForm
	}
	c.id, c.at = id[0], at[0]
	whole, fraction, _ := strings.Cut(c.at, ".")
	if c.time, err = strconv.ParseInt(whole, 10, 64); err != nil || c.time < 0 || !validID(c.id) || len(fraction) > 9 || strings.Trim(fraction, "0123456789") != "" {
		return c, errForm
	}
	if len(sig[0]) != hex.EncodedLen(len(c.signature)) {
		return c, errForm
	}
	if _, err := hex.Decode(c.signature[:], []byte(sig[0])); err != nil {
		return c, errForm
	}
	return c, nil
}

// readBearer reads "Bearer mk_<id>_<secret>". A secret has no "_", an id may.
func readBearer(v string) (c credentials, err error) {
	scheme, token, _ := strings.Cut(v, " ")
	rest, ok := strings.CutPrefix(token, "mk_")
	i := strings.LastIndexByte(rest, '_')
	if !ok || i < 0 || !strings.EqualFold(scheme, "Bearer") {
		return c, errForm
	}
	c.id, c.secret = rest[:i], rest[i+1:]
	if !validID(c.id) || c.secret == "" {
		return c, errForm
	}
	return c, nil
}

// Token returns the bearer key that is shown to its owner once.
func Token(id, secret string) string { return "mk_" + id + "_" + secret }

// validID tells whether id can be a key's: 1 to 64 of a-z A-Z 0-9 - _ and ".".
func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return id != "" && len(id) <= maxKeyID
}

// checkSignature tells whether c's signature is that of r with this body, made about now.
func (c *credentials) checkSignature(r *http.Request, secret string, body []byte, now time.Time) error {
	want := sign(secret, r.Method, pathOf(r), c.at, body)
	if subtle.ConstantTimeCompare(want[:], c.signature[:]) != 1 {
		return errSignature
	}
	if d := now.Unix() - c.time; d > int64(Window/time.Second) || d < -int64(Window/time.Second) {
		return errTime
	}
	return nil
}

// pathOf returns path and query as they stood in the request line.
func pathOf(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI // what a router does to r.URL does not matter
	}
	return r.URL.RequestURI()
}

// Sign adds the headers that sign req for the key with that id and secret. body is
// what is sent: after compression, if any. now must be within [Window] of the server's clock.
// The signature is good for one request: sign again before trying again. Moat-Time is written with
// its fraction, so that the same request made twice in a second has two signatures.
func Sign(req *http.Request, id, secret string, body []byte, now time.Time) {
	at := fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond())
	s := sign(secret, req.Method, req.URL.RequestURI(), at, body)
	req.Header.Set(HeaderKey, id)
	req.Header.Set(HeaderTime, at)
	req.Header.Set(HeaderSignature, hex.EncodeToString(s[:]))
}

// sign is HMAC-SHA-256 over method, path with query, time and the hash of the body, a line each.
func sign(secret, method, path, at string, body []byte) (s signature) {
	if method == "" {
		method = http.MethodGet // as net/http sends it
	}
	sum := sha256.Sum256(body)
	text := make([]byte, 0, 256)
	text = append(text, method...)
	text = append(text, '\n')
	text = append(text, path...)
	text = append(text, '\n')
	text = append(text, at...)
	text = append(text, '\n')
	text = hex.AppendEncode(text, sum[:])
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(text)
	mac.Sum(s[:0])
	return s
}

// equal compares two texts in a time that does not depend on where they differ.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// addressOf names whom failures are counted against: the address, or the /64 of
// an IPv6 one, since a single host has all of it.
func addressOf(r *http.Request) string {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	p, _ := ip.WithZone("").Prefix(64) // 64 bits fit an IPv6 address
	return p.String()
}

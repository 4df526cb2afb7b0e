package foresee

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
)

// seal names things by keyed hashes, and hides what only their own partner may see.
type seal struct {
	mac   hash.Hash
	block cipher.Block
	sum   [sha256.Size]byte
	buf   []byte
}

var text64 = base64.RawURLEncoding

func newSeal(k Key) *seal {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("seal"))
	block, err := aes.NewCipher(mac.Sum(nil)[:16])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &seal{mac: mac, block: block}
}

// pack joins parts so that no two lists of them are the same.
func (s *seal) pack(parts ...string) []byte {
	s.buf = s.buf[:0]
	for _, p := range parts {
		s.buf = append(binary.AppendUvarint(s.buf, uint64(len(p))), p...)
	}
	return s.buf
}

// digest is the HMAC-SHA-256 of b.
func (s *seal) digest(b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(s.sum[:0])
}

// name returns a keyed hash of parts, 96 bits in base64.
func (s *seal) name(parts ...string) string {
	return text64.EncodeToString(s.digest(s.pack(parts...))[:12])
}

// close encrypts three texts. The same texts give the same: the nonce is their keyed hash, which
// proves them on opening, so that no nonce serves two texts.
func (s *seal) close(a, b, c string) string {
	plain := s.pack(a, b, c)
	out := make([]byte, aes.BlockSize+len(plain))
	copy(out, s.digest(plain)[:aes.BlockSize])
	cipher.NewCTR(s.block, out[:aes.BlockSize]).XORKeyStream(out[aes.BlockSize:], plain)
	return text64.EncodeToString(out)
}

// open is the inverse of close; ok is false for what it did not make.
func (s *seal) open(text string) (a, b, c string, ok bool) {
	raw, err := text64.DecodeString(text)
	if err != nil || len(raw) < aes.BlockSize {
		return "", "", "", false
	}
	nonce, plain := raw[:aes.BlockSize], raw[aes.BlockSize:]
	cipher.NewCTR(s.block, nonce).XORKeyStream(plain, plain)
	if !hmac.Equal(s.digest(plain)[:aes.BlockSize], nonce) {
		return "", "", "", false
	}
	for _, to := range []*string{&a, &b, &c} {
		n, size := binary.Uvarint(plain)
		if size <= 0 || n > uint64(len(plain)-size) {
			return "", "", "", false
		}
		*to, plain = string(plain[size:size+int(n)]), plain[size+int(n):]
	}
	return a, b, c, true
}

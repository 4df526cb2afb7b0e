package book

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/moat-platform/moat"
)

// Key is an API key without its secret. It belongs to a partner, and to one of
// its apps when App is given, or to the operator, who may name partners.
type Key struct {
	ID       string    `json:"id"`
	Partner  string    `json:"partner,omitempty"`
	App      string    `json:"app,omitempty"`
	Operator bool      `json:"operator,omitempty"`
	Name     string    `json:"name"`
	Created  moat.Time `json:"created"`
	Revoked  moat.Time `json:"revoked,omitzero"`

	master string // fingerprint
}

// Tenant is what calls with this key may see.
func (k *Key) Tenant() moat.Tenant {
	if k.Operator {
		return moat.Everyone()
	}
	return moat.Only(k.Partner)
}

// MasterKey is what the secrets of all keys are derived from. It does not
// print itself.
type MasterKey struct {
	epoch uint32
	key   [32]byte
}

// String says what it is and not what it holds.
func (MasterKey) String() string { return "master key" }

// GoString is [MasterKey.String].
func (MasterKey) GoString() string { return "master key" }

// LogValue is [MasterKey.String].
func (MasterKey) LogValue() slog.Value { return slog.StringValue("master key") }

// masterPrefix begins the text of the file; epoch and base64 follow. Raising
// the epoch by hand makes every secret anew, as a new key would.
const masterPrefix = "moat-master"

// Master returns the master key in dir/master.key, which it makes with mode
// 0600 when there is none. A file that others may read is refused. Without the
// file every API key must be made anew: back it up, apart from the book.
func Master(dir string) (MasterKey, error) {
	path := filepath.Join(dir, "master.key")
	m, err := readMaster(path)
	if errors.Is(err, fs.ErrNotExist) {
		var key [32]byte
		rand.Read(key[:])                                                            // never fails
		if err = writeMaster(path, key); err == nil || errors.Is(err, fs.ErrExist) { // another process may have been faster
			m, err = readMaster(path)
		}
	}
	if err != nil {
		return MasterKey{}, fmt.Errorf("cannot get master key: %w", err)
	}
	return m, nil
}

// MakeMaster makes dir/master.key of a key that the caller knows, for a folder that is to be the same each time and holds nothing
// secret. It fails when there is one.
func MakeMaster(dir string, key [32]byte) error {
	if err := writeMaster(filepath.Join(dir, "master.key"), key); err != nil {
		return fmt.Errorf("cannot make master key: %w", err)
	}
	return nil
}

func readMaster(path string) (m MasterKey, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return m, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return m, fmt.Errorf("others may read %s: chmod 600 it, and make the keys anew if someone did", path)
	}
	if info.Size() > 200 {
		return m, fmt.Errorf("%s is not a master key", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if m, err = parseMaster(string(b)); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func parseMaster(s string) (m MasterKey, err error) {
	var encoded string
	if n, err := fmt.Sscanf(s, masterPrefix+" %d %s\n", &m.epoch, &encoded); n != 2 || err != nil {
		return MasterKey{}, errors.New("not a master key: want \"moat-master <epoch> <base64 of 32 bytes>\"")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != len(m.key) {
		return MasterKey{}, errors.New("not a master key: want base64 of 32 bytes")
	}
	copy(m.key[:], raw)
	return m, nil
}

// writeMaster puts a key at path, whole or not at all: a half-written one
// would be taken for a broken one for ever.
func writeMaster(path string, key [32]byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s 1 %s\n", masterPrefix, base64.StdEncoding.EncodeToString(key[:])); err != nil {
		return err
	}
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike Rename it never replaces
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// derive is HMAC-SHA-256 of purpose, text and epoch under the master key.
func (m *MasterKey) derive(purpose, text string) []byte {
	h := hmac.New(sha256.New, m.key[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write([]byte(text))
	h.Write(binary.BigEndian.AppendUint32([]byte{0}, m.epoch))
	return h.Sum(nil)
}

// Secret returns the secret of the key with that id: 52 characters. It is also
// what the key's calls are signed with.
func Secret(m MasterKey, id string) string { return base32Lower.EncodeToString(m.derive("secret", id)) }

// fingerprint tells master keys apart without telling anything about them.
func (m *MasterKey) fingerprint() string { return hex.EncodeToString(m.derive("fingerprint", "")[:8]) }

// keyText is a key as it is shown, once: mk_<id>_<secret>.
func keyText(m MasterKey, id string) string { return "mk_" + id + "_" + Secret(m, id) }

// splitKey takes a key's text apart; the parts are well-formed, not yet true.
func splitKey(text string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, "mk_")
	if !ok || len(text) > 100 {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	return id, secret, ok && len(id) == 16 && len(secret) == 52
}

func keysTable() *table[Key] {
	return &table[Key]{
		name: "keys", columns: "SELECT id, partner, app, operator, name, master, created, revoked", from: "api_keys",
		time: "created", order: "created", id: "id",
		filter: func(*Query, *where) {},
		scan: func(rows *sql.Rows) (k Key, err error) {
			var operator int64
			err = rows.Scan(&k.ID, &k.Partner, &k.App, &operator, &k.Name, &k.master, &k.Created, &k.Revoked)
			k.Operator = operator != 0
			return k, err
		},
		key: func(k *Key) (int64, string) { return int64(k.Created), k.ID },
	}
}

// Keys returns one page of keys, newest first, and the cursor of the next
// page, "" after the last.
func (b *Book) Keys(ctx context.Context, t moat.Tenant, q Query) ([]Key, string, error) {
	return keysTable().page(ctx, b, t, q, false)
}

// Key returns one key.
func (b *Book) Key(ctx context.Context, t moat.Tenant, id string) (Key, error) {
	return keysTable().one(ctx, b, t, id)
}

// Authenticate returns the key with that text. A wrong, unknown or revoked key
// gives [ErrKey] and takes as long as a right one to compare; a key of another
// master key gives [ErrMaster]. It takes no tenant: it is what tells the tenant.
func (b *Book) Authenticate(ctx context.Context, m MasterKey, text string) (Key, error) {
	id, secret, ok := splitKey(text)
	if !ok {
		return Key{}, fmt.Errorf("cannot authenticate: %w", ErrKey)
	}
	k, err := b.LookUpKey(ctx, id)
	right := subtle.ConstantTimeCompare([]byte(Secret(m, id)), []byte(secret)) == 1
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return Key{}, fmt.Errorf("cannot authenticate: %w", err)
	case err == nil && k.master != m.fingerprint():
		return Key{}, fmt.Errorf("cannot authenticate: %w", ErrMaster)
	case err != nil || !right || k.Revoked != 0:
		return Key{}, fmt.Errorf("cannot authenticate: %w", ErrKey)
	}
	return k, nil
}

// LookUpKey returns a key by the id that a caller claims, for calls that are
// signed with [Secret] instead of carrying it. The caller is not who it says
// before its signature is checked, and a revoked key is returned too.
func (b *Book) LookUpKey(ctx context.Context, id string) (Key, error) {
	return keysTable().one(ctx, b, moat.Everyone(), id)
}

// CreateKey makes a key for k.Partner (and k.App), or for the operator when
// k.Operator, and returns it with its text, which cannot be had again. The
// partner must exist.
func (b *Book) CreateKey(ctx context.Context, t moat.Tenant, m MasterKey, k Key, by string) (Key, string, error) {
	var id [10]byte
	rand.Read(id[:]) // never fails
	k.ID, k.Created, k.Revoked, k.master = base32Lower.EncodeToString(id[:]), b.now(), 0, m.fingerprint()
	if err := checkKey(t, &k); err != nil {
		return Key{}, "", fmt.Errorf("cannot create key %.64q: %w", k.Name, err)
	}
	err := b.act(ctx, "create key", k.Name, by, func(tx *tx) error {
		if !k.Operator {
			var n int
			if err := tx.row("SELECT COUNT(*) FROM partners WHERE partner = ?", []any{k.Partner}, &n); err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("%w: partner %.64q", ErrNotFound, k.Partner)
			}
		}
		operator := 0
		if k.Operator {
			operator = 1
		}
		_, err := tx.exec("INSERT INTO api_keys (id, partner, app, operator, name, master, created, revoked) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
			k.ID, k.Partner, k.App, operator, k.Name, k.master, int64(k.Created))
		tx.note(k.Partner, by, "key.create", k.ID, map[string]any{"name": k.Name, "app": k.App, "operator": k.Operator})
		return err
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, keyText(m, k.ID), nil
}

func checkKey(t moat.Tenant, k *Key) error {
	_, one := t.Partner()
	switch {
	case k.Operator && one:
		return ErrOperator
	case k.Operator && (k.Partner != "" || k.App != ""):
		return fmt.Errorf("%w: a key of the operator has no partner and no app", ErrInvalid)
	case !k.Operator && !t.Sees(k.Partner):
		return fmt.Errorf("%w: partner %.64q", ErrNotFound, k.Partner)
	}
	if k.App != "" {
		if err := checkName("app", k.App, 128); err != nil {
			return err
		}
	}
	return checkName("name", k.Name, 200)
}

// RevokeKey ends a key for good and returns it. Revoking it again changes nothing.
func (b *Book) RevokeKey(ctx context.Context, t moat.Tenant, id, by string) (Key, error) {
	err := b.act(ctx, "revoke key", id, by, func(tx *tx) error {
		partner, err := tx.partnerOf(t, "api_keys", id)
		if err != nil {
			return err
		}
		n, err := tx.exec("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked = 0", int64(b.now()), text(id))
		if err != nil || n == 0 {
			return err
		}
		tx.note(partner, by, "key.revoke", id, nil)
		return nil
	})
	if err != nil {
		return Key{}, err
	}
	return b.Key(ctx, t, id)
}

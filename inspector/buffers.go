package inspector

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/redact"
)

const (
	pooledBytes = 8 << 10

	maxText       = 8 << 10  // bytes of one text
	maxHeaderText = 64 << 10 // bytes of all header fields
	maxFields     = 256

	mask = "•••"

	// minSecret is the minimum length of a secret that is hidden everywhere. Shorter ones
	// occur in words.
	minSecret  = 9
	maxSecrets = 64
)

type buffers struct {
	texts []byte
	cut   bool // some text is cut

	body, response []byte

	secrets []string
	secret  []byte
}

type bufferPool struct{ sync.Pool }

func (p *bufferPool) get() *buffers {
	if b, ok := p.Get().(*buffers); ok {
		return b
	}
	return &buffers{texts: make([]byte, 0, 2<<10), body: make([]byte, 0, 4<<10), response: make([]byte, 0, 4<<10)}
}

func (p *bufferPool) put(b *buffers) {
	clear(b.secrets[:cap(b.secrets)])
	clear(b.secret)
	b.secrets, b.cut = b.secrets[:0], false
	for _, buf := range []*[]byte{&b.texts, &b.body, &b.response, &b.secret} {
		if cap(*buf) > pooledBytes {
			*buf = nil
		}
		*buf = (*buf)[:0]
	}
	p.Put(b)
}

func (b *buffers) add(text string) {
	cut := ""
	if len(text) > maxText {
		text, cut, b.cut = text[:maxText], "…", true
	}
	b.texts = binary.LittleEndian.AppendUint16(b.texts, uint16(len(text)+len(cut)))
	b.texts = append(append(b.texts, text...), cut...)
}

func (b *buffers) addMask() { b.texts = binary.LittleEndian.AppendUint16(b.texts, masked) }

func (b *buffers) addHeader(h http.Header) (fields int) {
	start := len(b.texts)
	for name, values := range h {
		isSecret := redact.IsSecretHeader(name)
		for _, value := range values {
			if isSecret {
				b.addSecrets(value)
			}
			if fields > maxFields || len(b.texts)-start > maxHeaderText {
				continue // a secret is hidden even if it is not shown
			}
			b.add(name)
			if isSecret {
				b.addMask()
			} else {
				b.add(maskURL(value))
			}
			fields++
		}
	}
	return fields
}

func (b *buffers) addSecrets(value string) {
	for value != "" && len(b.secrets) <= maxSecrets {
		var part string
		part, value, _ = strings.Cut(value, ";")
		part = strings.TrimSpace(part)
		if scheme, token, ok := strings.Cut(part, " "); ok && len(scheme) < minSecret {
			part = strings.TrimSpace(token)
			if strings.EqualFold(scheme, "Basic") {
				login, _ := base64.StdEncoding.DecodeString(part)
				user, password, _ := strings.Cut(string(login), ":")
				b.addSecret(cmp.Or(password, user))
			}
		} else if name, text, ok := strings.Cut(part, "="); ok && len(strings.TrimRight(text, `="`)) >= minSecret && name != "" {
			part = text
		}
		b.addSecret(strings.Trim(part, `"`))
	}
}

func (b *buffers) addSecret(text string) {
	if len(text) >= minSecret {
		b.secrets = append(b.secrets, text)
	}
}

// hideSecrets hides secrets outside of their headers, or if that would take too long, drops
// body and response and returns false.
func (b *buffers) hideSecrets() bool {
	const maxSearched = 2 << 20
	found := len(b.secrets) <= maxSecrets && len(b.secrets)*(len(b.body)+len(b.response)) <= maxSearched
	if !found {
		b.body, b.response = nil, nil
	}
	slices.SortFunc(b.secrets, func(x, y string) int { return len(y) - len(x) })
	for _, secret := range b.secrets {
		b.secret = append(b.secret[:0], secret...)
		if b.cut || bytes.Contains(b.texts, b.secret) {
			b.hideInTexts(secret)
		}
		for _, text := range []*[]byte{&b.body, &b.response} {
			if bytes.Contains(*text, b.secret) {
				*text = bytes.ReplaceAll(*text, b.secret, []byte(mask))
			}
			*text = hidePrefix(*text, b.secret)
		}
	}
	return found
}

// hidePrefix hides the beginning of a secret that was cut off.
func hidePrefix(text, secret []byte) []byte {
	const minPrefix, maxPrefix = minSecret - 1, 2 << 10
	for i := max(0, len(text)-min(len(secret)-1, maxPrefix)); ; i++ {
		found := bytes.Index(text[i:], secret[:minPrefix])
		if found < 0 {
			return text
		}
		if i += found; bytes.HasPrefix(secret, text[i:]) {
			return append(text[:i], mask...)
		}
	}
}

func (b *buffers) hideInTexts(secret string) {
	all := texts(b.texts)
	b.texts = b.texts[:0]
	for all != "" {
		text := strings.ReplaceAll(all.next(), secret, mask)
		if begin, cut := strings.CutSuffix(text, "…"); cut {
			text = string(hidePrefix([]byte(begin), []byte(secret))) + "…"
		}
		b.add(text)
	}
}

func (b *buffers) addViolations(violations []chargeingest.Violation) int {
	const maxBytes = 32 << 10
	start := len(b.texts)
	for i, v := range violations {
		if len(b.texts)-start > maxBytes {
			return i
		}
		b.add(v.Field)
		b.add(v.Message)
	}
	return len(violations)
}

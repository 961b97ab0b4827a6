package jwtauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxTokenBytes = 8 << 10
	maxKeyIDBytes = 256

	maxHeaderValues = 64 // parsed before the signature is verified
)

type token struct {
	alg, kid  string
	signed    string // header and claims, encoded
	claims    []byte
	signature []byte
	text      string
}

// decodeHeader returns nil unless text has the shape of a JWT.
func decodeHeader(text string) []byte {
	if strings.Count(text, ".") != 2 || strings.ContainsFunc(text, isOutsideJWT) {
		return nil
	}
	part, _, _ := strings.Cut(text, ".")
	header, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil
	}
	return header
}

func isOutsideJWT(r rune) bool {
	return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// countValues returns an upper bound.
func countValues(text []byte) int {
	return bytes.Count(text, []byte("{")) + bytes.Count(text, []byte("[")) + bytes.Count(text, []byte(","))
}

func isJSONObject(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) && json.Valid(text)
}

// parse leaves out the claims, which can cost more than verifying the signature.
func (a *Authorizer) parse(text string, header []byte) (*token, error) {
	if !jsontext.Value(header).IsValid() {
		return nil, rejectedError("the header has a duplicate name or is not valid UTF-8")
	}
	var fields map[string]any
	if err := json.Unmarshal(header, &fields); err != nil {
		return nil, errMalformed
	}
	// crit names required extensions; b64 and zip change the encoding of the claims.
	for _, name := range []string{"crit", "b64", "zip"} {
		if _, ok := fields[name]; ok {
			return nil, rejectedError("the header has " + name)
		}
	}
	if !a.acceptsType(fields["typ"]) {
		return nil, rejectedError("the typ is not accepted")
	}
	t := &token{text: text}
	t.alg, _ = fields["alg"].(string)
	if !slices.Contains(a.cfg.Algorithms, t.alg) {
		return nil, errSignature
	}
	var err error
	if t.kid, err = keyID(fields); err != nil {
		return nil, err
	}
	end := strings.LastIndexByte(text, '.')
	t.signed = text[:end]
	strict := base64.RawURLEncoding.Strict()
	if t.claims, err = strict.DecodeString(t.signed[strings.IndexByte(t.signed, '.')+1:]); err != nil {
		return nil, errMalformed
	}
	if t.signature, err = strict.DecodeString(text[end+1:]); err != nil {
		return nil, errMalformed
	}
	return t, nil
}

func (a *Authorizer) acceptsType(typ any) bool {
	if len(a.cfg.TokenTypes) == 0 {
		return true
	}
	name, ok := typ.(string)
	return ok && slices.Contains(a.cfg.TokenTypes, mediaType(name))
}

// mediaType normalizes a typ as in RFC 7515, section 4.1.9.
func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if short, ok := strings.CutPrefix(typ, "application/"); ok && short != "" && !strings.Contains(short, "/") {
		return short
	}
	return typ
}

func keyID(header map[string]any) (string, error) {
	value, ok := header["kid"]
	if !ok {
		return "", nil
	}
	kid, ok := value.(string)
	if !ok || kid == "" || len(kid) > maxKeyIDBytes {
		return "", rejectedError("the kid is not a string of 1 to 256 bytes")
	}
	return kid, nil
}

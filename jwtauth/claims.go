package jwtauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"example.com/chargeingest"
)

const (
	maxSubjectChars = 128

	maxDate = 253402300799 // the end of the year 9999; larger values can overflow
)

func newClaimsValidator(cfg Config) *jwt.Validator {
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(cfg.Now)}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if !cfg.AnyAudience {
		options = append(options, jwt.WithAudience(cfg.Audiences...))
	}
	return jwt.NewValidator(options...)
}

func (a *Authorizer) validateClaims(text []byte) (jwt.MapClaims, error) {
	if value := jsontext.Value(text); !value.IsValid() {
		return nil, rejectedError("the claims are not JSON, have a duplicate name, or are not valid UTF-8")
	}
	var claims jwt.MapClaims
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, errMalformed
	}
	if err := a.validator.Validate(claims); err != nil {
		return nil, claimsError(err)
	}
	for _, name := range []string{"exp", "nbf"} {
		if date, ok := claims[name].(float64); ok && (date < 0 || date > maxDate) {
			return nil, rejectedError(name + " is not a date")
		}
	}
	return claims, nil
}

func claimsError(err error) rejectedError {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "the token has expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "the token is not valid yet"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return "the token is for another audience"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "the token is from another issuer"
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return "exp, iss or aud is missing"
	}
	return "a claim has the wrong type"
}

// principal returns only the subject with an error.
func (a *Authorizer) principal(claims jwt.MapClaims, perm chargeingest.Permission) (chargeingest.Principal, error) {
	subject, _ := claims["sub"].(string)
	p := chargeingest.Principal{Subject: loggable(subject)}
	if !slices.Contains(a.permissions(claims), string(perm)) {
		return p, fmt.Errorf("%w: the token lacks the permission %s", chargeingest.ErrForbidden, perm)
	}
	platforms := []string{a.cfg.Platform}
	if a.cfg.Platform == "" {
		platforms = stringList(claims[a.cfg.PlatformsClaim])
	}
	if len(platforms) == 0 || slices.ContainsFunc(platforms, func(name string) bool { return !isPlatformName(name) }) {
		return p, fmt.Errorf("%w: the token has no platform, or an invalid platform name", chargeingest.ErrForbidden)
	}
	p.Platforms = platforms
	return p, nil
}

func (a *Authorizer) permissions(claims jwt.MapClaims) []string {
	claim := claims[a.cfg.PermissionsClaim]
	if a.cfg.PermissionsClaim == "" {
		var ok bool
		if claim, ok = claims["permissions"]; !ok {
			claim = claims["scope"]
		}
	}
	if words, ok := claim.(string); ok {
		return strings.Split(words, " ")
	}
	return stringList(claim)
}

func stringList(claim any) []string {
	if one, ok := claim.(string); ok {
		return []string{one}
	}
	list, _ := claim.([]any)
	var all []string
	for _, entry := range list {
		s, ok := entry.(string)
		if !ok {
			return nil
		}
		all = append(all, s)
	}
	return all
}

func loggable(subject string) string {
	if runes := []rune(subject); len(runes) > maxSubjectChars {
		subject = string(runes[:maxSubjectChars])
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, subject)
}

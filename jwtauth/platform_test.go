package jwtauth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func TestPlatformNames(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	accepts := func(name string) bool {
		token := s.token(claims("platforms", []string{"first", name}))
		p, err := a.Authorize(request(token), chargeingest.PermissionIngest)
		cfg := config(s)
		cfg.Platform = name
		if _, invalid := jwtauth.New(t.Context(), cfg); name != "" {
			require.Equal(t, err == nil, invalid == nil, "Config.Platform has the same rule")
		}
		if err != nil {
			requireRejected(t, err, chargeingest.ErrForbidden, token)
			return false
		}
		require.Equal(t, []string{"first", name}, p.Platforms)
		return true
	}
	for _, name := range []string{
		"acme", "Acme Inc.", "a b c", "Zoë", "Zoe\u0308", "株式会社", "пример", "عربى", "हिन्दी", "a/b:c|d_e-f@g", "😀", "€$", "0", `"`,
	} {
		require.True(t, accepts(name), "%+q", name)
	}
	for _, name := range []string{
		"", " ", "   ", " acme", "acme ", "a  b", "\t", "a\tb", "acme\n", "acme\r", "acme\x00", "acme\x7f", "acme\u0085",
		"acme\u00a0", "a\u00a0b", "\u2003", "a\u2009b", "acme\u3000", "a\u1680b", "acme\u2028", "acme\u2029", // spaces
		"acme\u200b", "ac\u200cme", "ac\u200dme", "\ufeffacme", "acme\u2060", "ac\u00adme", "acme\u180e", // zero width
		"acme\u200e", "\u202eacme", "acme\u2066", "acme\ufff9", "acme\U000e0001", "acme\U000e0041", // direction, notes, tags
		"acme\ufe0f", "acme\ufe00", "acme\U000e0100", "acme\u180b", "acme\u034f", // variation selectors, joiners
		"acme\u3164", "\u3164", "acme\u115f", "acme\u1160", "acme\uffa0", "acme\u17b4", // fillers
		"acme\u2800", "\u2800", "acme\U00013441", "acme\U00016fe4", "acme\U0001d159", // blanks
		"acme\ufffd", "acme\ue000", "acme\uffff", "acme\U0010ffff", "acme\u0378", // not characters
	} {
		require.False(t, accepts(name), "%+q", name)
	}
}

package chargeingest_test

import (
	"bufio"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const apiDocument = "docs/api.md"

type repository struct {
	documents map[string]string
	sources   map[string]string
	scripts   map[string]string
	modules   []string
}

type snippet struct {
	document, heading string
	line              int
	language, text    string
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	testName     = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z_]\w*`)
	testCommand  = regexp.MustCompile("\\b(?:go test|make fuzz) [^\n`#]*")
	codeSpan     = regexp.MustCompile("`[^`\n]+`")
	link         = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	flagName     = regexp.MustCompile(`^-([a-z][a-z-]*)`)
)

func readRepository(t *testing.T) repository {
	t.Helper()
	if _, err := os.Stat("go.work"); err != nil {
		t.Skip("no go.work: the module is not in its workspace")
	}
	r := repository{documents: make(map[string]string), sources: make(map[string]string), scripts: make(map[string]string)}
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && name != "." && name != ".ci"
			if hidden || d.Name() == "testdata" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		var files map[string]string
		switch {
		case d.Name() == "go.mod":
			r.modules = append(r.modules, path.Dir(name))
			return nil
		case path.Ext(name) == ".md":
			files = r.documents
		case path.Ext(name) == ".go":
			files = r.sources
		case path.Dir(name) == ".ci", name == "Makefile", d.Name() == "run":
			files = r.scripts
		default:
			return nil
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file
		}
		files[name] = string(text)
		return err
	}))
	return r
}

func (r repository) tests(pattern string) (names []string) {
	for file, text := range r.sources {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		dir := path.Dir(file)
		nested := func(module string) bool {
			return module != "." && (dir == module || strings.HasPrefix(dir, module+"/"))
		}
		if pattern == "work" || path.Clean(pattern) == dir || pattern == "./..." && !slices.ContainsFunc(r.modules, nested) {
			for _, m := range testFunction.FindAllStringSubmatch(text, -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

func (r repository) snippets(t *testing.T) (list []snippet) {
	t.Helper()
	for document, text := range r.documents {
		var block *snippet
		var heading string
		lines := bufio.NewScanner(strings.NewReader(text))
		for n := 1; lines.Scan(); n++ {
			line := lines.Text()
			switch fence := strings.HasPrefix(line, "```"); {
			case fence && block == nil:
				block = &snippet{document: document, heading: heading, line: n, language: line[3:]}
			case fence:
				list = append(list, *block)
				block = nil
			case block != nil:
				block.text += line + "\n"
			case strings.HasPrefix(line, "#"):
				heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
			default:
				require.NotContains(t, line, "```", "%s:%d: fences start at the first column", document, n)
				require.False(t, strings.HasPrefix(line, "    "), "%s:%d: code blocks are fenced", document, n)
			}
		}
		require.Nil(t, block, "%s: a block is not closed", document)
	}
	return list
}

// isExcerpt ignores indentation, blank lines and comments.
func (r repository) isExcerpt(block string) bool {
	wanted := bareCode(block)
	return slices.ContainsFunc(slices.Collect(maps.Values(r.sources)), func(text string) bool {
		return strings.Contains(bareCode(text), wanted)
	})
}

func bareCode(text string) string {
	var b strings.Builder
	b.WriteByte('\n')
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(" "+strings.ReplaceAll(line, "\t", " "), " //")
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// A test or a script names a checked block: its document, and its heading or its language.
func (r repository) isChecked(s snippet) bool {
	names := []string{`"` + s.heading + `"`}
	if s.language != "go" && s.language != "sh" {
		names = append(names, `"`+s.language+`"`)
	}
	named := func(text string) bool {
		return strings.Contains(text, s.document) &&
			slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) })
	}
	for file, text := range r.sources {
		if strings.HasSuffix(file, "_test.go") && named(text) {
			return true
		}
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(r.scripts)), named)
}

func (r repository) hasCommand(command string) bool {
	words := strings.Fields(strings.TrimPrefix(command, "sudo "))
	switch {
	case len(words) == 0:
		return true
	case len(words) > 1 && words[0] == "make":
		return strings.Contains(r.scripts["Makefile"], "\n"+words[1]+":")
	case len(words) > 1 && words[0] == "go" && words[1] == "test":
		return true
	case len(words) > 2 && words[0] == "go" && words[1] == "run":
		return r.hasProgram(path.Clean(words[2]), words[3:])
	}
	_, found := r.scripts[words[0]]
	return found
}

func (r repository) hasProgram(dir string, arguments []string) bool {
	var text string
	for file, source := range r.sources {
		if path.Dir(file) == dir && !strings.HasSuffix(file, "_test.go") {
			text += source
		}
	}
	for _, argument := range arguments {
		if m := flagName.FindStringSubmatch(argument); m != nil && !strings.Contains(text, `"`+m[1]+`"`) {
			return false
		}
	}
	return strings.Contains(text, "package main")
}

func commands(block string) (list []string) {
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		line, _, _ = strings.Cut(" "+line, " #")
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

func TestSnippets(t *testing.T) {
	r := readRepository(t)
	for _, s := range r.snippets(t) {
		var ok bool
		switch s.language {
		case "mermaid":
			ok = true
		case "go":
			ok = r.isExcerpt(s.text)
		case "sh":
			ok = !slices.ContainsFunc(commands(s.text), func(c string) bool { return !r.hasCommand(c) })
		}
		ok = ok || s.document == apiDocument && slices.Contains([]string{"sh", "http"}, s.language)
		assert.True(t, ok || r.isChecked(s), "%s:%d: no Go file has this block, and no test or CI script names %q and %q",
			s.document, s.line, s.document, s.heading)
	}
	for document, text := range r.documents {
		for _, span := range codeSpan.FindAllString(text, -1) {
			if span = strings.Trim(span, "`"); strings.HasPrefix(span, "go run ./") || strings.HasPrefix(span, "make ") {
				assert.True(t, r.hasCommand(span), "%s: %s", document, span)
			} else if slices.Contains([]string{"docs/operations.md", "docs/data.md"}, document) && flagName.MatchString(span) && span != "-help" {
				assert.True(t, r.hasProgram("example", []string{span}) || r.hasProgram("cmd/chargectl", []string{span}), "%s: %s", document, span)
			}
		}
	}
}

func TestSnippetChecks(t *testing.T) {
	r := repository{
		sources: map[string]string{
			"a_test.go":      "func f() {\n\ta() // c\n\n\tb()\n}\n// \"The heading\" of x.md\n",
			"tool/main.go":   "package main\nvar flags = \"addr\"",
			"other/other.go": "package other",
		},
		scripts: map[string]string{"Makefile": "\ntest:", "tool/run": ""},
	}
	require.True(t, r.isExcerpt("a()\nb() // d\n"))
	require.False(t, r.isExcerpt("a()\nc()\n"))
	require.False(t, r.isExcerpt("f() {\n"))
	require.True(t, r.isChecked(snippet{document: "x.md", heading: "The heading", language: "sql"}))
	require.False(t, r.isChecked(snippet{document: "x.md", heading: "Another", language: "sql"}))
	require.False(t, r.isChecked(snippet{document: "y.md", heading: "The heading", language: "sql"}))
	for command, want := range map[string]bool{
		"go run ./tool -addr x": true, "go run ./tool -port 1": false, "go run ./other": false, "go run ./none": false,
		"make test": true, "make none": false, "tool/run": true, "rm -r": false, "go test ./none": true,
	} {
		require.Equal(t, want, r.hasCommand(command), command)
	}
	require.Equal(t, []string{"a  b", "c '#d'"}, commands("# e\na \\\nb # f\n\nc '#d'\n"))
}

func TestDocumentedTests(t *testing.T) {
	r := readRepository(t)
	all := r.tests("work")
	found := 0
	for document, text := range r.documents {
		for _, name := range testName.FindAllString(text, -1) {
			if !strings.Contains(text, "func "+name+"(") { // the document's own example
				assert.True(t, slices.Contains(all, name), "%s: no test %s", document, name)
				found++
			}
		}
	}
	require.Greater(t, found, 50)
}

// TestDocumentedCommands is needed because go test succeeds if -run matches nothing.
func TestDocumentedCommands(t *testing.T) {
	r := readRepository(t)
	found := 0
	for document, text := range r.documents {
		for _, command := range testCommand.FindAllString(text, -1) {
			packages, patterns := parseTestCommand(command)
			for _, pattern := range patterns {
				switch pattern {
				case "^$": // none
					continue
				case "NAME": // any in the document
					require.Equal(t, []string{"work"}, packages, "%s: %s: ./... leaves out nested modules", document, command)
					continue
				}
				pattern, _, _ = strings.Cut(pattern, "/")
				matches := regexp.MustCompile(pattern).MatchString
				for _, p := range packages {
					assert.True(t, slices.ContainsFunc(r.tests(p), matches), "%s: %s: nothing in %s matches %s", document, command, p, pattern)
					found++
				}
			}
		}
	}
	require.Greater(t, found, 5)
}

func parseTestCommand(command string) (packages, patterns []string) {
	words := strings.Fields(command)
	for i, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case slices.Contains([]string{"-run", "-bench", "-fuzz"}, word) && i+1 < len(words):
			patterns = append(patterns, strings.Split(strings.Trim(words[i+1], "'"), "|")...)
		case name == "TARGET":
			patterns = append(patterns, "^"+value+"$")
		case name == "PACKAGE":
			packages = append(packages, value)
		case word == "work" || strings.HasPrefix(word, "./"):
			packages = append(packages, word)
		}
	}
	if len(packages) == 0 {
		packages = []string{"."}
	}
	return packages, patterns
}

func TestDocumentLinks(t *testing.T) {
	r := readRepository(t)
	for document, text := range r.documents {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // not relative
			}
			file := document
			if target != "" {
				file = path.Join(path.Dir(document), target)
				_, err := os.Stat(file)
				exists := err == nil
				assert.True(t, exists, "%s: %s", document, m[1])
			}
			assert.True(t, anchor == "" || slices.Contains(anchors(r.documents[file]), anchor), "%s: %s", document, m[1])
		}
	}
}

func anchors(document string) (names []string) {
	for line := range strings.Lines(document) {
		if strings.HasPrefix(line, "#") {
			name := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
			name = regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(name, "")
			names = append(names, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return names
}

func TestDocumentSizes(t *testing.T) {
	r := readRepository(t)
	for document, maxWords := range map[string]int{"README.md": 900, "CONTRIBUTING.md": 500} {
		require.LessOrEqual(t, len(strings.Fields(r.documents[document])), maxWords, document)
	}
	delete(r.documents, "CHANGELOG.md")
	for document, text := range r.documents {
		fenced := false
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if !fenced && !strings.Contains(line, "|") {
				assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSpace(line)), 120, "%s: %s", document, line)
			}
		}
	}
}

func TestDirectoryMap(t *testing.T) {
	r := readRepository(t)
	_, table, found := strings.Cut(r.documents["docs/design.md"], "\n## Directories\n")
	require.True(t, found)
	var listed []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, span := range codeSpan.FindAllString(cells[1], -1) {
				dir := path.Clean(strings.Trim(span, "`"))
				listed = append(listed, dir)
				assert.DirExists(t, dir)
			}
		}
	}
	missing := make(map[string]bool)
	for file := range r.sources {
		within := func(dir string) bool { return dir == path.Dir(file) || strings.HasPrefix(file, dir+"/") }
		if !slices.ContainsFunc(listed, within) {
			missing[path.Dir(file)] = true
		}
	}
	require.Empty(t, missing, "directories without a row")
}

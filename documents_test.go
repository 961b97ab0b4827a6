package chargeingest_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// repository is all modules: their documents, and the names of their tests by
// directory, relative to the root and with slashes.
type repository struct {
	documents map[string]string
	tests     map[string][]string
	modules   []string
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	testName     = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z_]\w*`)
	testCommand  = regexp.MustCompile("\\b(?:go test|make fuzz) [^\n`#]*")
)

// readRepository finds the root of the workspace from the directory of the package.
func readRepository(t *testing.T) repository {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Skip("there is no go.work: the module is here without the rest of the repository")
		}
		root = filepath.Dir(root)
	}
	r := repository{documents: make(map[string]string), tests: make(map[string][]string)}
	files := os.DirFS(root)
	require.NoError(t, fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case d.Name() == "go.mod":
			r.modules = append(r.modules, path.Dir(name))
		case strings.HasSuffix(name, ".md"), strings.HasSuffix(name, "_test.go"):
			text, err := fs.ReadFile(files, name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // an editor's file that is gone already
			}
			if strings.HasSuffix(name, ".md") {
				r.documents[name] = string(text)
			}
			for _, m := range testFunction.FindAllSubmatch(text, -1) {
				if strings.HasSuffix(name, ".go") {
					r.tests[path.Dir(name)] = append(r.tests[path.Dir(name)], string(m[1]))
				}
			}
			return err
		}
		return nil
	}))
	return r
}

// in returns the tests of a package pattern of the go command, at the root.
func (r repository) in(pattern string) (names []string) {
	for dir, tests := range r.tests {
		switch {
		case pattern == "work", path.Clean(pattern) == dir:
			names = append(names, tests...)
		case pattern == "./...":
			nested := func(module string) bool {
				return module != "." && (dir == module || strings.HasPrefix(dir, module+"/"))
			}
			if !slices.ContainsFunc(r.modules, nested) {
				names = append(names, tests...)
			}
		}
	}
	return names
}

func TestDocumentsNameTestsThatExist(t *testing.T) {
	r := readRepository(t)
	require.Contains(t, r.documents, "SECURITY.md")
	all := r.in("work")
	found := 0
	for document, text := range r.documents {
		for _, name := range testName.FindAllString(text, -1) {
			if !strings.Contains(text, "func "+name+"(") { // the document's own example
				require.Contains(t, all, name, document)
				found++
			}
		}
	}
	require.Greater(t, found, 50)
}

// TestDocumentsRunTestsThatExist looks for what the commands in the documents run:
// a -run that matches nothing succeeds.
func TestDocumentsRunTestsThatExist(t *testing.T) {
	r := readRepository(t)
	found := 0
	for document, text := range r.documents {
		for _, command := range testCommand.FindAllString(text, -1) {
			packages, patterns := parseTestCommand(command)
			for _, pattern := range patterns {
				switch pattern {
				case "^$": // none
					continue
				case "NAME": // any that the document has
					require.Equal(t, []string{"work"}, packages, "%s: %s: ./... leaves out nested modules", document, command)
					continue
				}
				pattern, _, _ = strings.Cut(pattern, "/")
				matches := regexp.MustCompile(pattern).MatchString
				for _, p := range packages {
					require.True(t, slices.ContainsFunc(r.in(p), matches), "%s: %s: nothing in %s matches %s", document, command, p, pattern)
					found++
				}
			}
		}
	}
	require.Greater(t, found, 5)
}

// parseTestCommand returns the packages of a command, and the alternatives of its
// patterns of names.
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

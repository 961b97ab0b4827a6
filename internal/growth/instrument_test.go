package growth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The driver is built from copies of the source that count function calls, loop iterations, and
// elements that copy, append and internal/bytealg process, but no other assembly. Every package
// can import unicode/utf8, which has the counter.

var countedStd = []string{
	"bufio", "bytes", "compress/flate", "compress/gzip", "encoding/json", "fmt", "internal/stringslite", "io", "log/slog",
	"log/slog/internal/buffer", "maps", "math/big", "mime", "net/textproto", "net/url", "regexp", "regexp/syntax", "slices",
	"sort", "strconv", "strings", "unicode/utf8",
}

const driverPackage = "example.com/chargeingest/internal/growth/driver"

type listedPackage struct {
	ImportPath, Dir     string
	Standard            bool
	GoFiles, EmbedFiles []string
	Module              *struct {
		Path, Dir string
		Main      bool
	}
}

func builtDriver(t testing.TB) string {
	program := filepath.Join(driverDir, "driver.exe")
	buildOnce.Do(func() { buildDriver(t, driverDir, program) })
	require.FileExists(t, program, "the build failed for an earlier test")
	return program
}

var buildOnce sync.Once

func buildDriver(t testing.TB, dir, program string) {
	src := filepath.Join(dir, "src")
	modules := make(map[string]string) // copies by module path
	overlay := make(map[string]string)
	for _, p := range listPackages(t) {
		switch {
		case p.Standard && slices.Contains(countedStd, p.ImportPath):
			to := filepath.Join(dir, "std", p.ImportPath)
			for _, name := range countPackage(t, p, to) {
				overlay[filepath.Join(p.Dir, name)] = filepath.Join(to, name)
			}
		case !p.Standard:
			rel, err := filepath.Rel(p.Module.Dir, p.Dir)
			require.NoError(t, err)
			root := filepath.Join(src, filepath.FromSlash(p.Module.Path))
			modules[p.Module.Path] = root
			countPackage(t, p, filepath.Join(root, rel))
			copyFile(t, filepath.Join(p.Module.Dir, "go.mod"), filepath.Join(root, "go.mod"))
		}
	}
	main := modules["example.com/chargeingest"]
	copyFile(t, "../../go.sum", filepath.Join(main, "go.sum"))
	edit := []string{"mod", "edit"}
	for path, root := range modules {
		if root != main {
			edit = append(edit, "-replace="+path+"="+root)
		}
	}
	goCommand(t, main, edit...)
	writeFile(t, filepath.Join(main, "internal/growth/driver/steps.go"), `package main
import "unicode/utf8"
func init() { steps = func() uint64 { return utf8.GrowthSteps } }
`)
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	writeFile(t, filepath.Join(dir, "overlay.json"), string(text))
	goCommand(t, main, "build", "-trimpath", "-mod=mod", "-overlay="+filepath.Join(dir, "overlay.json"), "-o", program, driverPackage)
}

func goCommand(t testing.TB, dir string, args ...string) []byte {
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=", "GOPROXY=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return out
}

func listPackages(t testing.TB) []listedPackage {
	dec := json.NewDecoder(bytes.NewReader(goCommand(t, ".", "list", "-deps", "-json", driverPackage)))
	var list []listedPackage
	for {
		var p listedPackage
		err := dec.Decode(&p)
		if err == io.EOF {
			return list
		}
		require.NoError(t, err)
		list = append(list, p)
	}
}

func countPackage(t testing.TB, p listedPackage, to string) []string {
	var name string
	for _, file := range p.GoFiles {
		text, err := os.ReadFile(filepath.Join(p.Dir, file))
		require.NoError(t, err)
		text, name = countFile(t, file, text)
		writeFile(t, filepath.Join(to, file), string(text))
	}
	for _, file := range p.EmbedFiles {
		copyFile(t, filepath.Join(p.Dir, file), filepath.Join(to, file))
	}
	const counter = "growth_counter.go"
	text := fmt.Sprintf(counterFile, name, "import \"unicode/utf8\"\n", "utf8.GrowthSteps")
	if p.ImportPath == "unicode/utf8" {
		text = fmt.Sprintf(counterFile, name, "// GrowthSteps counts.\nvar GrowthSteps uint64\n", "GrowthSteps")
	}
	writeFile(t, filepath.Join(to, counter), text)
	return append(slices.Clone(p.GoFiles), counter)
}

const counterFile = `//go:build go1.21

package %[1]s

%[2]s
func growthStep() { %[3]s++ }

func growthCopy(n int) int {
	%[3]s += uint64(n)
	return n
}

func growthAppend[S ~[]E, E any](s S, n int) S {
	%[3]s += uint64(n)
	return s
}

func growthFind(i, n int) int {
	if i >= 0 {
		n = i
	}
	%[3]s += uint64(n)
	return i
}
`

var search = regexp.MustCompile(`^bytealg\.(IndexByte|IndexByteString|Index|IndexString|Count|CountString)$`)

func countFile(t testing.TB, name string, text []byte) ([]byte, string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	type insertion struct {
		at   int
		text string
	}
	var insertions []insertion
	insert := func(pos token.Pos, s string) {
		insertions = append(insertions, insertion{fset.Position(pos).Offset, s})
	}
	source := func(n ast.Node) string {
		return string(text[fset.Position(n.Pos()).Offset:fset.Position(n.End()).Offset])
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Body != nil {
				insert(n.Body.Lbrace+1, "growthStep();")
			}
		case *ast.FuncLit:
			insert(n.Body.Lbrace+1, "growthStep();")
		case *ast.ForStmt:
			insert(n.Body.Lbrace+1, "growthStep();")
		case *ast.RangeStmt:
			insert(n.Body.Lbrace+1, "growthStep();")
		case *ast.CallExpr:
			switch fun := source(n.Fun); {
			case fun == "copy":
				insert(n.Pos(), "growthCopy(")
				insert(n.End(), ")")
			case fun == "append" && n.Ellipsis.IsValid() && isPure(n.Args[1]):
				insert(n.Pos(), "growthAppend(")
				insert(n.End(), ", len("+source(n.Args[1])+"))")
			case search.MatchString(fun) && isPure(n.Args[0]):
				insert(n.Pos(), "growthFind(")
				insert(n.End(), ", len("+source(n.Args[0])+"))")
			}
		}
		return true
	})
	slices.SortStableFunc(insertions, func(a, b insertion) int { return a.at - b.at })
	var out []byte
	last := 0
	for _, i := range insertions {
		out = append(append(out, text[last:i.at]...), i.text...)
		last = i.at
	}
	return append(out, text[last:]...), f.Name.Name
}

func isPure(e ast.Expr) bool {
	pure := true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit, *ast.UnaryExpr, *ast.CompositeLit:
			pure = false
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); !ok || name.Name != "len" {
				pure = false
			}
		}
		return pure
	})
	return pure
}

func copyFile(t testing.TB, from, to string) {
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	writeFile(t, to, string(text))
}

func writeFile(t testing.TB, path, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// Renders the templates of a chart with Go's own engine and Sprig, as Helm does, from JSON to JSON.
//
// Standard input: {"templates": {name: text}, "values": {...}, "release": {...}, "chart": {...}}.
// Standard output: {name: text}. Stricter than Helm: a value that is missing is an error. What Helm
// adds to Sprig and is used here: toYaml and required.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type request struct {
	Templates map[string]string
	Values    map[string]any
	Release   map[string]any
	Chart     map[string]any
}

func toYaml(value any) (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func required(message string, value any) (any, error) {
	if value == nil || value == "" {
		return nil, errors.New(message)
	}
	return value, nil
}

func run() error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	functions := sprig.TxtFuncMap()
	functions["toYaml"], functions["required"] = toYaml, required
	data := map[string]any{
		"Values": asked.Values, "Release": asked.Release, "Chart": asked.Chart,
	}
	rendered := map[string]string{}
	for name, text := range asked.Templates {
		parsed, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(text)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := parsed.Execute(&out, data); err != nil {
			return err
		}
		rendered[name] = out.String()
	}
	return json.NewEncoder(os.Stdout).Encode(rendered)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

package main

import (
	"fmt"
	"slices"
	"strings"
)

// apiPackage names one generated package.
type apiPackage struct {
	Folder string // below api/, also the package name
	Model  string // folder of the model in the wheel
	Name   string // schema.Service.Name: our service name and IAM action prefix
}

// packages is every generated package.
var packages = []apiPackage{
	{Folder: "kms", Model: "kms", Name: "kms"},
	{Folder: "iam", Model: "iam", Name: "iam"},
	{Folder: "sts", Model: "sts", Name: "sts"},
	{Folder: "s3", Model: "s3", Name: "s3"},
	{Folder: "cloudtrail", Model: "cloudtrail", Name: "cloudtrail"},
	{Folder: "organizations", Model: "organizations", Name: "organizations"},
	{Folder: "geospatial", Model: "sagemaker-geospatial", Name: "sagemaker-geospatial"},
}

// parseAllowList reads operation names, one a line; # starts a comment. The
// result is sorted; a name given twice is an error.
func parseAllowList(text string) ([]string, error) {
	var names []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if strings.ContainsAny(line, " \t") {
			return nil, fmt.Errorf("operations.txt line %d: want one name, have %q", n, line)
		}
		if slices.Contains(names, line) {
			return nil, fmt.Errorf("operations.txt line %d: %s appears twice", n, line)
		}
		names = append(names, line)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("operations.txt names no operation")
	}
	slices.Sort(names)
	return names, nil
}

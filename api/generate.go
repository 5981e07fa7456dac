// Package api is the root of the generated API packages: one folder per AWS
// service with its wire shapes, constraints, operations and errors. The folder
// schema says what these are made of; the rest is written by the generator from
// the service models of a pinned botocore wheel, the allow-list operations.txt
// of each folder and a small overlay.
//
// To add an operation, put its name into operations.txt and run go generate.
// Only the generator needs the network and python3 with pip; building does not.
package api

//go:generate go run ./internal/generate

// Package catalog knows which actions, resource types and condition keys the
// services that we speak have, as AWS's Service Authorization Reference lists
// them: what a policy can name at all. It decides nothing; [lint] and tools
// ask it.
//
// The files *_gen.go hold one table for each service, written by
// api/internal/catalog. A table has three kinds of lines, whose order counts:
//
//	k TYPE KEY                        a condition key
//	r NAME ARN KEYS                   a resource type; ARN without "arn:${Partition}:"
//	a NAME LEVEL KEYS TYPE[!][=KEYS]… an action with the resource types it works on
//
// TYPE of a key is s (string), a (ARN), b (Boolean), n (number), d (date) or i
// (IP address), as a capital letter when requests hold several values. KEYS are
// places in the list of keys, from 0, or "-". LEVEL is R, L, W, P (permissions
// management) or T (tagging). "!" marks a resource type that the action cannot
// do without; "=" adds keys that go with it.
//
// The hand-written files add what that reference lacks, each with its source:
// global condition keys, the services behind kms:ViaService, service
// principals, and the actions that an operation of another name asks for.
//
// [lint]: https://pkg.go.dev/github.com/sagekeep/sagekeep/internal/authz/lint
package catalog

//go:generate go run ../../../api/internal/catalog -dir .

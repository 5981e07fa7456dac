// Package lint finds what never takes effect in a policy document, and what
// takes more effect than it seems: misspelt actions, condition keys that a
// request never holds, resources that no action works on, key policies that
// lock everybody out.
//
// An [Error] finding stands for a statement, or an element of one, that can
// never match, or for a document that is refused. A [Warning] finding stands
// for one that works, though rarely as meant. Documents are judged by package
// catalog, for the services it knows; what it does not know is left alone.
// [Check] is a pure function and says nothing about who has access: package
// authz decides that.
//
// docs/policy-lint.md has a section for every [Code].
//
// Sources: IAM User Guide, "IAM JSON policy element reference"; Service
// Authorization Reference; AWS KMS Developer Guide, "Key policies", "Condition
// keys for AWS KMS".
package lint

// Package archtest holds tests that keep the layers apart and the house rules
// kept: who may import whom, what every file must look like, and that the
// documents name what exists. It has no code of its own.
//
// A rule that stands in the way of a change is changed in the same commit, with
// its reason beside it; docs/architecture.md says what the layers are.
package archtest

// Package authz is the policy language of AWS: it parses, compiles, evaluates
// and explains identity policies, resource policies, key policies, role trust
// policies, permissions boundaries, session policies, service and resource
// control policies, and KMS grants.
//
// A document becomes a [Policy] once, with [Parse]; a Policy never changes
// afterwards (but for [Policy.Bind] before it is shared) and may be used by
// any number of goroutines. [Decide] answers one [Request] against the
// policies of every layer and returns a [Decision] that names the layer and the
// statement that decided; [Explain] tells of a denial what was unmet and what
// would allow, [Matches] which statements apply, [Simulate] decides
// lines of JSON. [Decide] is a pure function: it reads no clock, no
// store and no network, and everything it knows about the request stands in
// the request.
//
// The rules, in the order in which they are applied:
//
//  1. An explicit deny in any layer wins, over grants too. A document that
//     cannot be read is an explicit deny.
//  2. Resource control policies and service control policies must allow at
//     every level. Service control policies bind no service principal, and
//     neither kind binds service-linked roles.
//  3. A resource policy or a grant decides how much of the caller's own side is
//     still needed, from nothing (the statement names the session, the user or
//     everybody) over boundary and session policy (it names the role) to
//     everything (it names the account). For KMS keys and role trust policies,
//     and across accounts, one of them must allow.
//  4. Identity policies, then permissions boundary, then session policy must
//     allow, as far as rule 3 has not dispensed with them.
//
// Everything that is unknown fails closed: an operator nobody knows, a value
// that is no number where one is needed, an unreadable document, a question that
// costs more than [MaxWork] to answer.
//
// Sources: IAM User Guide, "Policy evaluation logic", "Cross-account policy
// evaluation logic", "IAM JSON policy element reference"; AWS KMS Developer
// Guide, "Key policies", "Grants in AWS KMS", "Troubleshooting key access".
package authz

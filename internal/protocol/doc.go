// Package protocol is the one road into the product: it routes a request,
// verifies its signature, decodes it, asks the evaluator, runs the service's
// method, records the call and answers. Calls between services take the same
// road from the authorisation on, so no operation has a side door (I2) and none
// goes unrecorded (I4).
//
//	listen → route → verify signature → decode, check constraints → resolve the
//	resource → authorise → method → record durable → encode → answer
package protocol
